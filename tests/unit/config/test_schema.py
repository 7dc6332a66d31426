"""The schema is valid, explains every key, and says the same as the model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from aifo_tasks import model
from aifo_tasks.config import build, check, read, trust
from aifo_tasks.config.chain import builtin_path
from aifo_tasks.config.tree import plain

SCHEMA: dict[str, Any] = json.loads(check.schema_path().read_bytes())


def objects(schema: Any, at: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every subschema with the pointer to it."""
    if isinstance(schema, dict):
        yield at, schema
        for key, below in schema.items():
            if key not in {"examples", "default", "enum", "required"}:
                yield from objects(below, f"{at}/{key}")
    elif isinstance(schema, list):
        for index, below in enumerate(schema):
            yield from objects(below, f"{at}/{index}")


def described() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property, and everything behind a name of the user's choice."""
    for at, schema in objects(SCHEMA):
        for group in ("properties", "patternProperties"):
            for name, below in schema.get(group, {}).items():
                if group == "properties" or "$ref" not in below:
                    yield f"{at}/{group}/{name}", below


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("at", "schema"), list(described()), ids=lambda value: str(value)[:80])
def test_a_property_has_a_description_and_valid_examples(at: str, schema: dict[str, Any]) -> None:
    assert schema["description"].endswith(".")
    assert schema["examples"]
    inner = {**schema, "$defs": SCHEMA["$defs"]}
    for example in schema["examples"]:
        jsonschema.Draft202012Validator(inner).validate(example)


def test_every_object_is_closed() -> None:
    open_ones = [
        at for at, schema in objects(SCHEMA)
        if ("properties" in schema or "patternProperties" in schema)
        and "additionalProperties" not in at and schema.get("additionalProperties") is not False
        and not at.endswith(("properties", "patternProperties"))
    ]  # fmt: skip
    assert open_ones == []


def test_every_keyword_has_words_of_our_own() -> None:
    silent = {
        "$defs", "$ref", "$schema", "default", "description", "examples", "items",
        "patternProperties", "properties", "title",
    }  # fmt: skip
    names = {"properties", "patternProperties", "$defs"}
    used = {
        keyword for at, schema in objects(SCHEMA) if at.rpartition("/")[2] not in names
        for keyword in schema if not keyword.startswith("x-")
    }  # fmt: skip
    assert used - silent == set(check._WORDS)


def test_every_pattern_says_what_it_expects() -> None:
    for at, schema in objects(SCHEMA):
        if isinstance(schema.get("pattern"), str):
            assert schema["x-expected"], at
            assert schema["pattern"].startswith("^"), at
            assert schema["pattern"].endswith("$"), at
        if "patternProperties" in schema and not at.endswith("properties"):
            assert schema["x-names"], at


def test_the_shipped_file_is_valid_for_any_validator() -> None:
    shipped = YAML(typ="safe", pure=True).load(builtin_path().read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(shipped)


def test_our_reader_and_a_whole_yaml_library_agree_on_the_shipped_file() -> None:
    text = builtin_path().read_bytes()
    node, findings = read.read(text, name="x", depth=0)
    assert findings == []
    assert node is not None
    assert plain(node) == YAML(typ="safe", pure=True).load(text)


def test_the_shipped_file_names_its_schema() -> None:
    first = builtin_path().read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema/toolchains.schema.json"


def keys_of(*names: str) -> set[str]:
    """The properties of the schema below these keys, as the model would write them."""
    schema = SCHEMA
    for name in names:
        schema = schema[name]
    return {key.replace("-", "_") for key in schema["properties"]}


TOOLCHAIN = ("$defs", "toolchain")


@pytest.mark.parametrize(
    ("at", "kind", "only_schema", "only_model"),
    [
        ((), model.Config, {"extends"}, {"root", "files", "lock", "lock_problems"}),
        (("properties", "registry"), model.Registry, set(), set()),
        (TOOLCHAIN, model.Toolchain, {"development_tools"}, {"kind"}),
        (
            (*TOOLCHAIN, "properties", "image"),
            model.Image,
            set(),
            {"pin", "published", "shared", "strict", "taken"},
        ),
        (("properties", "audit"), model.AuditFile, set(), set()),
        ((*TOOLCHAIN, "properties", "caches", "items"), model.Cache, set(), set()),
        ((*TOOLCHAIN, "properties", "overlays", "items"), model.Overlay, set(), set()),
        ((*TOOLCHAIN, "properties", "mounts", "items"), model.Mount, set(), set()),
        ((*TOOLCHAIN, "properties", "limits"), model.Limits, set(), set()),
        (("$defs", "base"), model.BaseSource, set(), set()),
        (("$defs", "base", "properties", "bootstrap"), model.Bootstrap, set(), set()),
        (("$defs", "package"), model.Package, set(), set()),
        (("$defs", "tool"), model.Tool, set(), {"development"}),
        (("$defs", "rule"), model.Rule, set(), set()),
        (("$defs", "language"), model.Language, {"toolchain"}, {"code"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_keys_and_model_fields_are_the_same(
    at: tuple[str, ...], kind: Any, only_schema: set[str], only_model: set[str]
) -> None:
    fields = {field.name for field in dataclasses.fields(kind)}
    assert keys_of(*at) - only_schema == fields - only_model
    assert only_schema <= keys_of(*at)


def test_defaults_of_schema_and_model_are_the_same() -> None:
    limits = SCHEMA["$defs"]["toolchain"]["properties"]["limits"]["properties"]
    given = {key: schema["default"] for key, schema in limits.items()}
    assert build._limits(given) == model.Limits()
    image = {"name": "lua", "context": "/x", "base": []}
    data = {"toolchains": {"lua": {"image": image}}}
    built = build.config(data, root=Path("/"), files=()).toolchains[0]
    properties = SCHEMA["$defs"]["toolchain"]["properties"]
    assert built.network == properties["network"]["default"]
    probe = SCHEMA["properties"]["registry"]["properties"]["probe"]
    assert list(model.Registry().probe) == probe["default"]
    assert list(built.forward) == properties["forward"]["default"]
    assert list(built.mounts) == properties["mounts"]["default"]
    assert built.image.libc == properties["image"]["properties"]["libc"]["default"]


def test_the_kinds_of_schema_and_model_are_the_same_words() -> None:
    (pattern,) = SCHEMA["properties"]["toolchains"]["patternProperties"]
    assert pattern == f"^{model.KIND.pattern.replace('(', '(?:')}$"


def test_the_keys_that_reach_the_host_are_marked() -> None:
    marked = {keys for keys, _ in trust._marked(SCHEMA, SCHEMA)}
    assert marked == {
        ("audit", "file"),
        ("audit", "size"),
        ("notifications-command",),
        ("registry", "probe"),
        ("toolchains", "*", "policy"),
        ("toolchains", "*", "forward"),
        ("toolchains", "*", "mounts"),
        ("toolchains", "*", "network"),
    }
