"""Whatever stands in a file: a model, or an error a user can mend."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from aifo_tasks.config import build, read, snapshot
from aifo_tasks.config.chain import builtin_path
from aifo_tasks.config.load import load
from aifo_tasks.config.tree import Node, Place, merge, plain
from aifo_tasks.errors import AifoError, ConfigError
from aifo_tasks.model import Config

many = settings(max_examples=300, deadline=None)
some = settings(max_examples=60, deadline=None)
quick = settings(deadline=None)

SHIPPED: dict[str, Any] = YAML(typ="safe", pure=True).load(builtin_path().read_text())


@contextlib.contextmanager
def project(data: bytes) -> Iterator[Path]:
    """A project with this file; hypothesis cannot share a fixture between examples."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        (root / "toolchains.yaml").write_bytes(data)
        yield root


def outcome(data: bytes) -> Config | AifoError:
    """What loading gives; every message is one a terminal can show."""
    with project(data) as root:
        try:
            return load(root)
        except AifoError as error:
            for line in str(error).splitlines():
                assert line.startswith(("toolchains.yaml:", "builtin:")), line
                line.encode()
            return error


@many
@given(st.binary(max_size=300))
def test_any_bytes_give_a_model_or_an_error(data: bytes) -> None:
    assert isinstance(outcome(data), Config | AifoError)


YAML_PIECES = st.sampled_from(
    ["\n", "  ", "- ", ": ", "? ", "{", "}", "[", "]", ",", "&a ", "*a", "!!str ", "!x ", "|", ">",
     "'", '"', "#", "%YAML 1.1", "%TAG ! x", "---", "...", "<<", "~", "\\", "\\x", "\t", "\r", "@",
     "`", "extends", "toolchains", "node", "null", "1.10", "0x1", "-", "\ufeff", "\u2028", "é",
     "\x00", "\\U99999999", "2001-01-01", "=", "builtin", "1" * 30, "9" * 5000]
)  # fmt: skip


@many
@given(st.lists(YAML_PIECES | st.text(max_size=3), max_size=40).map("".join))
def test_any_text_gives_a_model_or_an_error(text: str) -> None:
    assert isinstance(outcome(text.encode(errors="surrogatepass")), Config | AifoError)


@some
@given(st.data())
def test_any_cut_or_change_of_the_shipped_file_gives_a_model_or_an_error(data: Any) -> None:
    text = builtin_path().read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 200, len(text))))
    piece = data.draw(YAML_PIECES | st.text(max_size=3))
    changed = text[:start] + piece + text[end:]
    assert isinstance(outcome(changed.encode(errors="surrogatepass")), Config | AifoError)


# JSON writes what lies beyond U+FFFF as two surrogates, which YAML does not join.
VALUE = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\0"))
TEXT = VALUE | st.sampled_from(
    ["node", "ts", "/", "/etc", "..", "/home/coder", "aifo-node-modules", "4g", "-1", "{version}",
     "builtin", "bridge", "~", "~/x", "c-node", "a\n", "/a\n"]
)  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value."""
    yield at
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(below, (*at, key))


PLACES = list(places(SHIPPED))[1:]


def mutated(changes: list[tuple[tuple[Any, ...], Any, str | None]]) -> dict[str, Any]:
    """The shipped file with values replaced and keys added; a way that is gone is left."""
    copy: dict[str, Any] = json.loads(json.dumps(SHIPPED))
    for (*way, last), value, key in changes:
        target: Any = copy
        with contextlib.suppress(KeyError, IndexError, TypeError):
            for step in way:
                target = target[step]
            if key is None or not isinstance(target, dict):
                target[last] = value
            else:
                target[key] = value
    return copy


CHANGES = st.lists(
    st.tuples(st.sampled_from(PLACES), ANY, st.none() | TEXT), min_size=1, max_size=3
)


@some
@given(CHANGES)
def test_any_mutation_of_the_shipped_file_gives_a_model_or_an_error(changes: Any) -> None:
    data = json.dumps(mutated(changes), ensure_ascii=True).encode()
    found = outcome(data)
    assert isinstance(found, Config | AifoError)
    if isinstance(found, Config):
        hash(found)  # frozen to its last value


@some
@given(CHANGES)
def test_any_mutation_over_the_shipped_file_gives_a_model_or_an_error(changes: Any) -> None:
    data = json.dumps({"extends": "builtin", **mutated(changes)}).encode()
    assert isinstance(outcome(data), Config | AifoError)


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.sampled_from(["6m", "512m", "4g", 6 * 1024**2]),
        "pids": st.integers(16, 10**6),
        "idle-seconds": st.integers(0, 10**6),
        "max-seconds": st.integers(1, 10**6) | st.none(),
    },
)
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True).filter({"PATH", "HOME"}.isdisjoint)
GOOD = st.fixed_dictionaries(
    {},
    optional={
        "limits": LIMITS,
        "network": st.sampled_from(["none", "internal", "isolated", "bridge"]),
        "environment": st.dictionaries(NAMES, VALUE),
        "path": st.lists(st.sampled_from(["/a", "/b c", "/é/x"]), unique=True),
        "forward": st.sampled_from([[], ["NODE_ENV"], ["npm_config_*"]]),
        "image": st.fixed_dictionaries({"version": st.sampled_from(["22.12.0", "20"])}),
    },
)


@some
@given(GOOD)
def test_the_remembered_model_is_the_fresh_one(good: dict[str, Any]) -> None:
    data = json.dumps({"extends": "builtin", "toolchains": {"node": good}}).encode()
    with project(data) as root:
        fresh = load(root)
        kept = snapshot.recall(root)
        assert kept is not None
        files = tuple(Path(path) for path in kept["files"])
        assert build.config(kept["merged"], root=root, files=files) == fresh
        snapshot._path(root).unlink()
        assert load(root) == fresh
        node = fresh.toolchains[0]
        assert dict(node.environment).items() >= good.get("environment", {}).items()
        assert good.get("network", "bridge") == node.network


# merging


def as_node(value: Any, depth: int = 0) -> Node:
    place = Place(depth, "x", 1, 1)
    if isinstance(value, dict):
        return Node(value={key: as_node(below, depth) for key, below in value.items()}, place=place)
    if isinstance(value, list):
        return Node(value=[as_node(below, depth) for below in value], place=place)
    return Node(value=value, place=place, raw=str(value))


KEYS = st.sampled_from("abc")
TREES = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(KEYS, TREES, max_size=3)


def merged(*values: Any) -> Any:
    """The plain merge of values, each over those before it."""
    node = as_node(values[0])
    for value in values[1:]:
        node = merge(node, as_node(value))
    return plain(node)


@quick
@given(MAPPINGS)
def test_merging_with_nothing_or_with_itself_changes_nothing(value: Any) -> None:
    assert merged(value, {}) == value
    assert merged({}, value) == value
    assert merged(value, value) == value


@quick
@given(MAPPINGS, MAPPINGS)
def test_what_is_said_last_stands(base: Any, over: Any) -> None:
    result = merged(base, over)
    assert merged(result, over) == result
    assert list(result)[: len(base)] == list(base)
    for key in base.keys() | over.keys():
        if key not in over:
            assert result[key] == base[key]
        elif not (isinstance(over[key], dict) and isinstance(base.get(key), dict)):
            assert result[key] == over[key]


@quick
@given(MAPPINGS, MAPPINGS, KEYS)
def test_null_takes_a_key_away_and_only_that(base: Any, over: Any, key: str) -> None:
    base = {**base, key: 1}
    assert merged(base, {key: None}) == {name: base[name] for name in base if name != key}
    assert merged(merged(base, {key: None}), over).get(key) == over.get(key)


@quick
@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_without_null_merging_is_associative_for_mappings_of_one_shape(
    first: Any, second: Any, third: Any
) -> None:
    flat = [{key: str(value) for key, value in tree.items()} for tree in (first, second, third)]
    assert merged(merged(*flat[:2]), flat[2]) == merged(flat[0], merged(*flat[1:]))


@quick
@given(MAPPINGS, MAPPINGS)
def test_every_merged_scalar_comes_from_where_it_was_written(base: Any, over: Any) -> None:
    node = merge(as_node(base, depth=1), as_node(over, depth=0))

    def check(found: Node, written: Any) -> None:
        if not isinstance(found.value, dict):
            says = isinstance(written, int | list) or not written
            assert found.place.depth == (0 if says and written != _ABSENT else 1)
            return
        for key, below in found.value.items():
            inner = written.get(key, _ABSENT) if isinstance(written, dict) else _ABSENT
            check(below, inner)

    if isinstance(node.value, dict):
        check(node, over)


_ABSENT: Any = object()


def is_key(text: str) -> bool:
    """YAML lets a key on one line have 1,024 characters."""
    return len(json.dumps(text)) <= 1024


@some
@given(st.recursive(TEXT | st.integers(0, 9) | st.booleans(), lambda inner: st.dictionaries(
    VALUE.filter(is_key), inner, max_size=3)
    | st.lists(inner, max_size=3), max_leaves=9))  # fmt: skip
def test_json_is_read_as_json_reads_it(value: Any) -> None:
    text = json.dumps({"top": value}, ensure_ascii=True)
    node, findings = read.read(text.encode(), name="x", depth=0)
    if findings:  # JSON may say << as a key
        assert all("merge key <<" in str(found) for found in findings)
    else:
        assert node is not None
        assert plain(node) == {"top": value}


def test_a_bad_file_names_every_finding_in_order() -> None:
    found = outcome(b"extends: builtin\nb: 1\na: 2\n")
    assert isinstance(found, ConfigError)
    assert [line.split(": ")[1] for line in found.problems] == ["b", "a"]
