"""Where a tool's call goes: tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks.model import BaseSource, Image, Tool, Toolchain
from aifo_tasks.toolexec import routing


def toolchain(kind: str, tools: str, development: str = "") -> Toolchain:
    image = Image(name=kind, context=Path("/x"), base=(BaseSource(version="1", reference="x"),))
    declared = [Tool(name=name) for name in tools.split()]
    declared += [Tool(name=name, development=True) for name in development.split()]
    return Toolchain(kind=kind, image=image, tools=tuple(declared))


PYTHON = toolchain("python", "python pip", "make")
NODE = toolchain("node", "node npm", "make gcc")
RUST = toolchain("rust", "cargo", "make gcc")
CPP = toolchain("c-cpp", "ctest", "make cmake")
OWN = toolchain("lua", "lua", "make")
EVERYTHING = {chain.kind: frozenset({"make", "gcc"}) for chain in (PYTHON, NODE, RUST, CPP, OWN)}


@pytest.mark.parametrize(
    ("tool", "running", "expected"),
    [
        ("npm", [PYTHON, NODE], "node"),
        ("cargo", [PYTHON, NODE], None),
        ("sh", [PYTHON, NODE], None),
        ("make", [PYTHON, NODE, RUST, CPP], "c-cpp"),
        ("make", [PYTHON, NODE, RUST], "rust"),
        ("make", [PYTHON, NODE], "node"),
        ("make", [PYTHON, OWN], "python"),
        ("make", [OWN], "lua"),
        ("cmake", [CPP], None),
        ("gcc", [CPP, NODE, RUST], "rust"),
        ("make", [], None),
    ],
)
def test_routes(tool: str, running: list[Toolchain], expected: str | None) -> None:
    found = routing.route(tool, [(chain, chain.kind) for chain in running], EVERYTHING)
    assert (found[1] if found else None) == expected
    assert found is None or found[0].name == tool


def test_a_tool_of_one_kind_needs_no_look_into_the_image() -> None:
    found = routing.route("npm", [(NODE, "here")], {})
    assert found == (Tool(name="npm"), "here")


def test_the_projects_own_compiler_comes_first() -> None:
    assert routing.programs("tsc") == ("/workspace/node_modules/.bin/tsc", "tsc")
    assert routing.programs("npm") == ("npm",)


@pytest.mark.parametrize(
    ("own", "others", "has", "expected"),
    [
        (NODE, [PYTHON], {"node": {"gcc"}}, ("pip", "python")),
        (NODE, [CPP], {"node": {"gcc"}, "c-cpp": {"make", "gcc"}}, ("ctest", "make")),
        (PYTHON, [NODE], {"python": {"make"}, "node": {"make", "gcc"}}, ("gcc", "node", "npm")),
        (NODE, [OWN], {"node": set(), "lua": {"make"}}, ("lua", "make")),
        (NODE, [], {}, ()),
        (OWN, [OWN], {"lua": set()}, ()),
    ],
)
def test_a_sidecar_calls_the_others_for_what_it_has_not(
    own: Toolchain, others: list[Toolchain], has: dict[str, set[str]], expected: tuple[str, ...]
) -> None:
    """Never for a tool of its own kind, which would come back to it."""
    seen = {kind: frozenset(tools) for kind, tools in has.items()}
    assert routing.reachable(own, others, seen) == expected
