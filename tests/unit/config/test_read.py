"""YAML 1.2's core schema, and the place of every value."""

from __future__ import annotations

import math

import pytest

from aifo_tasks.config import read
from aifo_tasks.config.tree import Node, Scalar, Spot, plain


def node(text: str) -> Node:
    """The file's content; it must be without fault."""
    found, findings = read.read(text.encode(), name="x", depth=0)
    assert findings == []
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("nULL", "nULL"),
        ("true", True), ("False", False), ("yes", "yes"), ("off", "off"), ("n", "n"),
        ("12", 12), ("-3", -3), ("+4", 4), ("007", 7), ("0o17", 15), ("0xff", 255),
        ("1_000", "1_000"), ("12:30:45", "12:30:45"), ("0b11", "0b11"),
        ("1.10", 1.1), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-1.5E-1", -0.15),
        (".inf", math.inf), ("-.INF", -math.inf), ("9" * 400, math.inf), ("9" * 19, 1e19),
        ("1.2.3", "1.2.3"), ("2001-01-01", "2001-01-01"), ("=", "="), ("inf", "inf"),
    ],
)  # fmt: skip
def test_a_plain_word_is_what_yaml_1_2_says(text: str, value: Scalar) -> None:
    found = read.resolved(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    found = read.resolved(".nan")
    assert isinstance(found, float)
    assert math.isnan(found)


def test_what_is_quoted_is_text() -> None:
    assert plain(node("a: '1.10'\nb: \"true\"\nc: |\n  12\n")) == {
        "a": "1.10", "b": "true", "c": "12\n",
    }  # fmt: skip


def test_an_alias_repeats_its_anchor() -> None:
    found = node("a: &x [1, {b: 2}]\nc: *x\nd: &e text\nf: *e\n")
    assert plain(found) == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": "text", "f": "text"}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_every_value_and_key_has_its_place(line_end: str, begin: str) -> None:
    text = begin + line_end.join(["# é", "a:", "  - b: é", "    c: [x, 'y']", ""])
    top = Spot(node(text))
    item = top.get("a").items()[0]
    assert str(top.node.keys["a"]) == "x:2:1"
    assert str(item.node.keys["c"]) == "x:4:5"
    assert str(item.get("b").node.place) == "x:3:8"
    assert str(item.get("c").items()[1].node.place) == "x:4:12"


def test_a_value_left_blank_stands_at_its_key() -> None:
    found = node("a:\n\n\nb: 1\n")
    assert isinstance(found.value, dict)
    assert str(found.value["a"].place) == "x:1:1"
