"""YAML's text to nodes with places; refuses what YAML allows and nobody needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from aifo_tasks.config.tree import Finding, Node, Place, Scalar, quoted, shown

MAX_BYTES = 1024**2
MAX_NODES = 10_000
MAX_DEPTH = 32

_SYNTAX = (
    ("expected <block end>", "this is indented unlike what it belongs to", "align it"),
    (
        "mapping values are not allowed",
        "a mapping cannot begin here",
        "check the line above, and quote text that holds a colon",
    ),
    ("could not find expected ':'", "a key without a colon", "write: key: value"),
    ("expected '<document start>'", "something follows the end of the document", ""),
    ("found unexpected end of stream", "a quote is open at the end of the file", "close it"),
)

_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
_TAB_INDENT = re.compile(r"^ *(\t)[ \t]*[^\s#]", re.MULTILINE)


class _Stop(Exception):  # noqa: N818  # control flow: the rest of the file cannot be read
    pass


def read(data: bytes, *, name: str, depth: int) -> tuple[Node | None, list[Finding]]:
    """The one mapping the file ``name`` holds, and everything wrong with its YAML.

    The node is None when the file cannot be read to its end.
    """
    reader = _Reader(name=name, depth=depth)
    try:
        return reader.document(reader.text(data)), reader.findings
    except _Stop:
        return None, reader.findings


@dataclass(slots=True, kw_only=True)
class _Open:
    """A list or mapping whose end has not come; ``key`` is the mapping's key in wait."""

    place: Place
    anchor: str | None
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    key: Node | None = None
    size: int = 1
    height: int = 1


@dataclass(slots=True, kw_only=True)
class _Built:
    """A finished node, how many nodes it stands for with its aliases, and how deep it is."""

    node: Node
    size: int = 1
    height: int = 1


@dataclass(slots=True, kw_only=True)
class _Reader:
    name: str
    depth: int
    findings: list[Finding] = field(default_factory=list)
    opened: list[_Open] = field(default_factory=list)
    anchors: dict[str, _Built] = field(default_factory=dict)
    size: int = 0

    def text(self, data: bytes) -> str:
        """The file's text, if it is text that YAML may hold."""
        if len(data) > MAX_BYTES:
            self.stop(self.place(), f"the file is larger than {MAX_BYTES // 1024**2} MiB")
        try:
            text = data.decode().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode()
            byte = data[error.start]
            self.stop(
                self.within(before), f"byte 0x{byte:02x} is not UTF-8", "save the file as UTF-8"
            )
        if found := _UNPRINTABLE.search(text):
            self.stop(
                self.within(text[: found.start()]),
                f"the control character U+{ord(found[0]):04X} cannot stand here",
            )
        if found := _TAB_INDENT.search(text):
            self.stop(
                self.within(text[: found.start(1)]), "a tab cannot indent", "indent with spaces"
            )
        return text

    def document(self, text: str) -> Node:
        """The one document of the text, which must be a mapping."""
        documents: list[Node] = []
        for event in self.events(text):
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and documents:
                self.stop(self.mark(event.start_mark), "a second document begins here",
                          "keep one document in the file")  # fmt: skip
            built = self.step(kind, event)
            if built is not None and not self.opened:
                documents.append(built.node)
        if not documents:
            self.stop(self.place(), "the file is empty", "write: extends: builtin")
        if not isinstance(documents[0].value, dict):
            self.stop(documents[0].place, f"expected a mapping, found {shown(documents[0])}")
        return documents[0]

    def events(self, text: str) -> Iterator[Any]:  # ruamel's events share no type
        """The parser's events; a syntax error is a finding."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            yield from YAML(typ="safe", pure=True).parse(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem, hint = _explained(error.problem or error.context or "it cannot be read")
            self.stop(self.mark(mark) if mark else self.place(), f"not YAML: {problem}", hint)
        except (YAMLError, ValueError, OverflowError) as error:
            self.stop(self.place(), f"not YAML: {' '.join(str(error).split())[:100]}")

    def step(self, kind: str, event: Any) -> _Built | None:
        """Take one event; the node that is finished with it, if one is."""
        if kind in {"MappingStartEvent", "SequenceStartEvent"}:
            self.open(event, is_mapping=kind == "MappingStartEvent")
            return None
        if kind == "ScalarEvent":
            built = self.scalar(event)
        elif kind == "AliasEvent":
            built = self.alias(event)
        elif kind in {"MappingEndEvent", "SequenceEndEvent"}:
            built = self.close()
        else:
            return None
        self.add(built)
        return built

    def open(self, event: Any, *, is_mapping: bool) -> None:
        place = self.begin(event)
        if len(self.opened) >= MAX_DEPTH:
            self.stop(place, f"nested deeper than {MAX_DEPTH} levels")
        self.opened.append(_Open(place=place, anchor=event.anchor, is_mapping=is_mapping))

    def scalar(self, event: Any) -> _Built:
        place = self.begin(event)
        value = resolved(event.value) if event.style is None else event.value
        if found := _UNSPEAKABLE.search(event.value):
            self.find(place, f"text cannot hold U+{ord(found[0]):04X}")
        built = _Built(node=Node(value=value, place=place, raw=event.value))
        if event.anchor:
            self.anchors[event.anchor] = built
        return built

    def alias(self, event: Any) -> _Built:
        place = self.mark(event.start_mark)
        anchor = event.anchor
        if any(frame.anchor == anchor for frame in self.opened):
            self.stop(place, f"the alias *{anchor} stands inside what it repeats")
        built = self.anchors.get(anchor)
        if built is None:
            self.stop(place, f"the alias *{anchor} has no anchor &{anchor} before it")
        if len(self.opened) + built.height > MAX_DEPTH:
            self.stop(place, f"nested deeper than {MAX_DEPTH} levels")
        self.count(built.size, place)
        return built

    def close(self) -> _Built:
        frame = self.opened.pop()
        node = Node(
            value=frame.entries if frame.is_mapping else frame.items,
            place=frame.place, keys=frame.keys,
        )  # fmt: skip
        built = _Built(node=node, size=frame.size, height=frame.height)
        if frame.anchor:
            self.anchors[frame.anchor] = built
        return built

    def add(self, built: _Built) -> None:
        """Put a finished node where it belongs."""
        if not self.opened:
            return
        frame = self.opened[-1]
        frame.size += built.size
        frame.height = max(frame.height, built.height + 1)
        if not frame.is_mapping:
            frame.items.append(built.node)
        elif frame.key is None:
            frame.key = built.node
        else:
            self.enter(frame, frame.key, built.node)
            frame.key = None

    def enter(self, frame: _Open, key: Node, node: Node) -> None:
        if not isinstance(key.value, str):
            hint = f'write "{key.raw}"' if isinstance(key.value, int | float) else ""
            self.find(key.place, f"expected text as a key, found {shown(key)}", hint)
        elif key.value == "<<":
            self.find(key.place, "the merge key << is not supported", "write the keys out")
        elif key.value in frame.entries:
            first = frame.keys[key.value]
            self.find(key.place, f"the key {quoted(key.value)} stands in line {first.line} already")
        else:
            is_blank = node.value is None and not node.raw  # the parser's mark is a line late
            frame.entries[key.value] = replace(node, place=key.place) if is_blank else node
            frame.keys[key.value] = key.place

    def begin(self, event: Any) -> Place:
        """Count a node and look at its tag; where it begins."""
        place = self.mark(event.start_mark)
        self.count(1, place)
        if event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self.find(place, f"the tag {tag} is not supported", "leave it out; quote text")
        return place

    def count(self, nodes: int, place: Place) -> None:
        self.size += nodes
        if self.size > MAX_NODES:
            self.stop(place, f"the file stands for more than {MAX_NODES} values")

    def place(self, line: int = 1, column: int = 1) -> Place:
        return Place(self.depth, self.name, line, column)

    def mark(self, mark: Any) -> Place:
        return self.place(mark.line + 1, mark.column + 1)

    def within(self, before: str) -> Place:
        """The place that follows this beginning of the text."""
        lines = _LINE_END.split(before)
        return self.place(len(lines), len(lines[-1]) + 1)

    def find(self, place: Place, problem: str, hint: str = "") -> None:
        self.findings.append(Finding(place, (), problem, hint))

    def stop(self, place: Place, problem: str, hint: str = "") -> NoReturn:
        self.find(place, problem, hint)
        raise _Stop


def _explained(words: str) -> tuple[str, str]:
    """The parser's words for a syntax error, or plainer ones and a hint for frequent ones."""
    for beginning, problem, hint in _SYNTAX:
        if words.startswith(beginning):
            return problem, hint
    return " ".join(words.split()), ""


def resolved(text: str) -> Scalar:
    """What YAML 1.2 makes of a plain scalar; numbers too long to count become floats."""
    for pattern, convert in _RESOLVERS:
        if pattern.fullmatch(text):
            return convert(text)
    return text


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


# YAML 1.2's core schema; everything else is text.
_RESOLVERS: tuple[tuple[re.Pattern[str], Callable[[str], Scalar]], ...] = (
    (re.compile(r"(?:~|null|Null|NULL)?"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,18}"), int),
    (re.compile(r"0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), _number),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), _number),
)
