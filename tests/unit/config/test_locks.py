"""toolchains.lock: what is written is read again, and everything else is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from aifo_tasks.config import check, load, locks
from aifo_tasks.errors import UnsafePathError
from aifo_tasks.locked import Base, Lock, Locked, Published, Tool, pushed
from tests.fuzz import targets

A, B = (f"sha256:{digit * 64}" for digit in "ab")
NODE = Locked(
    kind="node",
    image="aifo-coder-toolchain-node",
    version="20",
    declared="c" * 64,
    base=Base(
        source="registry",
        reference="node:20-bookworm-slim",
        digest=A,
        platforms=(("linux/amd64", A), ("linux/arm64", B)),
    ),
    inputs=(("dockerfile", "d" * 64), ("file node-version", "e" * 64), ("version", "")),
    tools=(Tool(name="@deno/x", version="2.9.5", integrity="sha512-x==", architecture="amd64"),),
    published=(Published(reference="r.example/t/node:latest", digest=B),),
)
CPP = Locked(
    kind="c-cpp", image="cpp", version="12", declared="0" * 64,
    base=Base(source="bootstrap", reference="bookworm", digest=B),
)  # fmt: skip
TEXT = f"""\
# What toolchains.yaml came to, to the digest. Written by doit lock; keep it beside it.
version: "1"
toolchains:
  c-cpp:
    image: "cpp"
    version: "12"
    declared: "{"0" * 64}"
    base:
      source: "bootstrap"
      reference: "bookworm"
      digest: "{B}"
  node:
    image: "aifo-coder-toolchain-node"
    version: "20"
    declared: "{"c" * 64}"
    base:
      source: "registry"
      reference: "node:20-bookworm-slim"
      digest: "{A}"
      platforms:
        linux/amd64: "{A}"
        linux/arm64: "{B}"
    inputs:
      dockerfile: "{"d" * 64}"
      "file node-version": "{"e" * 64}"
      version: ""
    tools:
      - name: "@deno/x"
        version: "2.9.5"
        integrity: "sha512-x=="
        architecture: "amd64"
    published:
      - reference: "r.example/t/node:latest"
        digest: "{B}"
"""


def read(text: str) -> Lock:
    data, problems = locks.checked(text.encode())
    assert data is not None, problems
    return locks.lock(data)


def test_the_text_of_a_lock_is_always_the_same() -> None:
    assert locks.text(Lock().holding(NODE, CPP)) == TEXT
    assert locks.text(Lock().holding(CPP).holding(NODE)) == TEXT
    assert read(TEXT) == Lock().holding(NODE, CPP)
    assert read(locks.text(Lock())) == Lock()


def test_what_is_new_takes_the_place_of_its_own_kind_and_reference() -> None:
    other = Published(reference="a.example/node:latest", digest=A)
    again = Published(reference="r.example/t/node:latest", digest=A)
    now = pushed(pushed(NODE, other), again)
    assert now.published == (other, again)
    assert Lock().holding(NODE, CPP).holding(now).toolchains == (CPP, now)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (f'digest: "{B}"\n  node', "digest: x\n  node",
         ("11:15: toolchains.c-cpp.base.digest: expected sha256: and 64 hexadecimal digits, "
         "found 'x'")),
        ('version: "1"', 'version: "2"', "2:10: version: expected one of 1, found '2'"),
        ('    image: "cpp"\n', "", "5:5: toolchains.c-cpp: the key image is missing"),
        ("bootstrap", "bootstrop",
         ("9:15: toolchains.c-cpp.base.source: expected one of registry, bootstrap, found "
         "'bootstrop' (hint: did you mean bootstrap?)")),
        ("linux/amd64:", "windows:",
         ("21:9: toolchains.node.base.platforms.windows: expected a platform such as linux/amd64, "
         "found 'windows'")),
        ("    tools:", "    tool:",
         "27:5: toolchains.node.tool: unknown key (hint: did you mean tools?)"),
        ("  c-cpp:", "<<<<<<< ours\n  c-cpp:", "5:8: not YAML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, problem: str) -> None:
    assert old in TEXT
    data, problems = locks.checked(TEXT.replace(old, new, 1).encode())
    assert data is None
    assert problems[0].startswith(f"toolchains.lock:{problem}"), problems


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
DIGESTS = st.sampled_from([A, B])
PLATFORMS = st.dictionaries(st.sampled_from(["linux/amd64", "linux/arm/v7"]), DIGESTS).map(
    lambda found: tuple(sorted(found.items()))
)
NAMES = st.from_regex(r"[!-~]{1,20}", fullmatch=True)
LOCKED = st.builds(
    Locked,
    kind=st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5})?", fullmatch=True)
    | st.sampled_from(["null", "true", "y"]),
    image=NAMES,
    version=NAMES,
    declared=st.just("f" * 64),
    base=st.builds(
        Base, source=st.sampled_from(["registry", "bootstrap"]), reference=NAMES, digest=DIGESTS,
        platforms=PLATFORMS,
    ),
    inputs=st.dictionaries(WORDS, WORDS | st.just("")).map(lambda d: tuple(sorted(d.items()))),
    tools=st.lists(
        st.builds(Tool, name=NAMES, version=NAMES, integrity=NAMES | st.just("")), max_size=3
    ).map(tuple),
    published=st.lists(
        st.builds(Published, reference=NAMES, digest=DIGESTS, platforms=PLATFORMS), max_size=2
    ).map(tuple),
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(st.lists(LOCKED, max_size=3))
def test_any_lock_comes_back(found: list[Locked]) -> None:
    lock = Lock().holding(*found)
    assert read(locks.text(lock)) == lock


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(TEXT)), st.integers(0, 200), st.text(max_size=3))
def test_any_cut_or_change_gives_a_lock_or_problems(at: int, length: int, piece: str) -> None:
    changed = TEXT[:at] + piece + TEXT[at + length :]
    targets.lock(changed.encode(errors="surrogatepass"))


def test_a_project_knows_its_lock_from_the_first_time_on(project: Path) -> None:
    assert load.load(project).lock is None
    lock = Lock().holding(NODE)
    assert locks.write(project, lock)
    assert not locks.write(project, lock)
    assert load.load(project).lock == lock  # read
    assert load.load(project).lock == lock  # remembered
    (project / "toolchains.lock").write_text("version: 1\n")
    found = load.load(project)
    assert found.lock is None
    assert found.lock_problems == (
        "toolchains.lock:1:10: version: expected one of 1, found 1",
    )  # fmt: skip


def test_a_link_is_refused(project: Path) -> None:
    (project / "other").write_text(TEXT)
    (project / "toolchains.lock").symlink_to("other")
    with pytest.raises(UnsafePathError):
        load.load(project)


def described(schema: Any) -> list[dict[str, Any]]:
    """Every property of a schema."""
    if not isinstance(schema, dict):
        return [found for below in schema for found in described(below)] if isinstance(
            schema, list
        ) else []  # fmt: skip
    below = [found for value in schema.values() for found in described(value)]
    return [*schema.get("properties", {}).values(), *below]


def test_the_schema_explains_itself_and_holds_for_any_validator() -> None:
    schema = json.loads(check.schema_path("lock").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    for each in described(schema):
        assert each["description"].endswith(".")
        inner = {**each, "$defs": schema["$defs"]}
        for example in each["examples"]:
            jsonschema.Draft202012Validator(inner).validate(example)
    jsonschema.Draft202012Validator(schema).validate(YAML(typ="safe", pure=True).load(TEXT))
