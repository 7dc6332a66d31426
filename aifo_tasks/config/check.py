"""What the schema has to say about a file, in words of our own."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aifo_tasks import files
from aifo_tasks.config.tree import Finding, Node, Spot, plain, quoted, shown

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Schema = dict[str, Any]  # JSON Schema's keywords take values of every type

_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def schema(name: str = "toolchains") -> Schema:
    """The schema of toolchains.yaml, or the one of another name, as parsed JSON."""
    loaded: Schema = json.loads(schema_path(name).read_bytes())
    return loaded


def schema_path(name: str = "toolchains") -> Path:
    """Where a schema lies."""
    return files.resource("schema") / f"{name}.schema.json"


def findings(node: Node, name: str = "toolchains") -> list[Finding]:
    """Everything in which the merged file differs from the schema ``name``; unsorted."""
    found: dict[Finding, None] = {}  # keeps the order, drops what is said twice
    errors = list(_validator(name).iter_errors(plain(node)))
    mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
    for error in errors:
        if error.validator != "type" and tuple(error.absolute_path) in mistyped:
            continue  # 1.5 is no whole number; that it is also too small helps nobody
        spot = Spot(node).descend(tuple(error.absolute_path))
        explain = _WORDS[error.validator]
        assert isinstance(error.schema, dict)  # a schema of true or false breaks on nothing
        for finding in explain(spot, error.validator_value, error.schema):
            found[finding] = None
    return list(found)


@functools.cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def pattern(
        _validator: object, value: str, instance: object, _schema: object
    ) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not _matches(value, instance):
            yield ValidationError("pattern")

    def is_integer(_checker: object, instance: object) -> bool:
        return isinstance(instance, int) and not isinstance(instance, bool)

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    strict: type[Validator] = extend(  # type: ignore[no-untyped-call]  # untyped in the stubs
        Draft202012Validator, {"pattern": pattern}, type_checker=checker
    )
    return strict(schema(name))


def _type(spot: Spot, value: object, schema: Schema) -> Iterator[Finding]:
    names = [value] if isinstance(value, str) else list(_strings(value))
    expected = schema.get("x-expected") or " or ".join(_TYPES[name] for name in names)
    found, hint = shown(spot.node), ""
    scalar = spot.node.value
    if scalar is None and "null" not in names:
        hint = "null takes an inherited value away; nothing is inherited here"
    elif isinstance(scalar, bool | int | float) and "string" in names:
        found = f"the {'word' if isinstance(scalar, bool) else 'number'} {found}"
        hint = f'quote it: "{spot.node.raw}"'
    elif isinstance(scalar, str) and names == ["array"]:
        hint = f"write a list: [{scalar}]"
    yield spot.finding(f"expected {expected}, found {found}", hint)


def _pattern(spot: Spot, _value: object, schema: Schema) -> Iterator[Finding]:
    problem = f"expected {schema['x-expected']}, found {shown(spot.node)}"
    yield spot.finding(problem, schema.get("x-hint", ""))


def _enum(spot: Spot, value: object, _schema: Schema) -> Iterator[Finding]:
    words = list(_strings(value))
    problem = f"expected one of {', '.join(words)}, found {shown(spot.node)}"
    yield spot.finding(problem, _did_you_mean(spot.text, words))


def _required(spot: Spot, value: object, _schema: Schema) -> Iterator[Finding]:
    present = {key for key, _ in spot.entries()}
    for key in _strings(value):
        if key not in present:
            yield spot.finding(f"the key {key} is missing")


def _unknown(spot: Spot, _value: object, schema: Schema) -> Iterator[Finding]:
    known: Mapping[str, object] = schema.get("properties", {})
    patterns: list[str] = list(schema.get("patternProperties", ()))
    for key, _ in spot.entries():
        if key in known or any(_matches(pattern, key) for pattern in patterns):
            continue
        if patterns:
            yield spot.finding(f"expected {schema['x-names']}, found {quoted(key)}", key=key)
        else:
            yield spot.finding("unknown key", _did_you_mean(key, list(known)), key=key)


def _too_few_items(spot: Spot, value: object, _schema: Schema) -> Iterator[Finding]:
    yield spot.finding(f"expected at least {value} item, found {len(spot.items()) or 'none'}")


def _too_few_entries(spot: Spot, value: object, _schema: Schema) -> Iterator[Finding]:
    yield spot.finding(f"expected at least {value} entry, found {len(spot.entries()) or 'none'}")


def _twice(spot: Spot, _value: object, _schema: Schema) -> Iterator[Finding]:
    seen: list[object] = []
    for item in spot.items():
        value = plain(item.node)
        if value in seen:
            yield item.finding(f"{shown(item.node)} stands in this list already")
        seen.append(value)


def _too_small(spot: Spot, value: object, _schema: Schema) -> Iterator[Finding]:
    yield spot.finding(f"expected at least {value}, found {shown(spot.node)}")


def _one_of(spot: Spot, value: object, _schema: Schema) -> Iterator[Finding]:
    """The schema uses oneOf only for keys of which exactly one must be there."""
    assert isinstance(value, list)
    keys = [key for branch in value for key in branch["required"]]
    present = [key for key, _ in spot.entries() if key in keys]
    found = "both" if present else "neither"
    yield spot.finding(f"expected exactly one of {' and '.join(keys)}, found {found}")


_WORDS: dict[object, Callable[[Spot, object, Schema], Iterator[Finding]]] = {
    "additionalProperties": _unknown,
    "enum": _enum,
    "minItems": _too_few_items,
    "minProperties": _too_few_entries,
    "minimum": _too_small,
    "oneOf": _one_of,
    "pattern": _pattern,
    "required": _required,
    "type": _type,
    "uniqueItems": _twice,
}


def _matches(pattern: str, text: str) -> bool:
    """Whether a pattern of the schema is found; Python's ``$`` would allow a last line end."""
    return re.search(pattern.replace("$", r"\Z"), text) is not None


def _strings(value: object) -> Iterator[str]:
    assert isinstance(value, Sequence)
    for item in value:
        assert isinstance(item, str)
        yield item


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word.lower().replace("_", "-"), known, n=1)
    return f"did you mean {close[0]}?" if close else ""
