"""Which variables a call carries: tables."""

from __future__ import annotations

import pytest

from aifo_tasks.model import Rule, Tool
from aifo_tasks.toolexec import policy


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"TERM": "xterm", "SECRET": "x"}, {"TERM": "xterm"}, id="base list only"),
        pytest.param({"NODE_ENV": "test"}, {"NODE_ENV": "test"}, id="declared name"),
        pytest.param({"npm_config_color": "x"}, {"npm_config_color": "x"}, id="declared pattern"),
        pytest.param({"npm_config_cache": "/root/.npm"}, {}, id="own directory, other case"),
        pytest.param({"LD_PRELOAD": "x", "PATH": "/x", "HOME": "/x"}, {}, id="never"),
        pytest.param({"NODE_OPTIONS": "--require x"}, {}, id="never, though a pattern says so"),
        pytest.param({"AIFO_ENV_NODE_ENV": "ci"}, {"NODE_ENV": "ci"}, id="forwarded by prefix"),
        pytest.param(
            {"AIFO_ENV_NODE_ENV": "ci", "NODE_ENV": "test"}, {"NODE_ENV": "ci"}, id="prefix wins"
        ),
        pytest.param({"AIFO_ENV_SECRET": "x"}, {}, id="the prefix allows nothing by itself"),
        pytest.param({"AIFO_ENV_LD_PRELOAD": "x"}, {}, id="the prefix cannot reach never"),
        pytest.param({"npm_config_a=b": "x", "npm_config_é": "x"}, {}, id="not a name"),
    ],
)
def test_forwarded(environ: dict[str, str], expected: dict[str, str]) -> None:
    patterns = ("NODE_*", "npm_config_*")
    own = {"NPM_CONFIG_CACHE", "HOME"}
    assert dict(policy.forwarded(environ, patterns, own)) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ""),
        ("k", "k"),
        ("kj", "k"),
        ("-j8 -k", "-k"),
        ("kw -j4 --jobserver-auth=3,4 -- CC=gcc", "kw -- CC=gcc"),
        ("--jobs=4 --jobserver-fds=3,4", ""),
        ("V=j", "V=j"),
    ],
)
def test_make_flags_lose_their_job_slots(flags: str, expected: str) -> None:
    assert policy.forwarded({"MAKEFLAGS": flags}, (), ()) == (("MAKEFLAGS", expected),)


def test_the_result_is_sorted() -> None:
    names = [name for name, _value in policy.forwarded({"TZ": "1", "CI": "1"}, (), ())]
    assert names == ["CI", "TZ"]


@pytest.mark.parametrize(
    ("cwd", "inside", "anywhere"),
    [
        ("/workspace", "/workspace", "/workspace"),
        ("/workspace/", "/workspace", "/workspace"),
        ("//workspace//a/./b/", "/workspace/a/b", "/workspace/a/b"),
        ("/workspaces", None, "/workspace"),
        ("/", None, "/workspace"),
        ("/etc", None, "/workspace"),
    ],
)
def test_where_a_tool_may_be_called(cwd: str, inside: str | None, anywhere: str) -> None:
    assert policy.directory(Tool(name="npm"), cwd) == inside
    assert policy.directory(Tool(name="npm", cwd="any"), cwd) == anywhere


RULES = (
    Rule(tool="npm", deny_arguments=("publish", "--registry=*")),
    Rule(tool="node", allow_arguments=("*.js", "--*"), deny_arguments=("--inspect*",)),
    Rule(tool="make", allow_cwd=("/workspace/c/*",), deny_cwd=("*/secret",)),
)


@pytest.mark.parametrize(
    ("tool", "arguments", "cwd", "expected"),
    [
        ("npm", ["test"], "/workspace", None),
        ("npm", ["-s", "publish"], "/workspace", "npm: publish: deny-arguments has 'publish'"),
        (
            "npm", ["--registry=x"], "/workspace",
            "npm: --registry=x: deny-arguments has '--registry=*'",
        ),
        ("pnpm", ["publish"], "/workspace", None),
        ("node", ["a.js", "--x"], "/workspace", None),
        ("node", ["-e", "x"], "/workspace", "node: -e: allow-arguments has nothing for it"),
        (
            "node", ["--inspect=1"], "/workspace",
            "node: --inspect=1: deny-arguments has '--inspect*'",
        ),
        ("make", [], "/workspace/c/a", None),
        ("make", [], "/workspace", "make: /workspace: allow-cwd has nothing for it"),
        (
            "make", [], "/workspace/c/secret",
            "make: /workspace/c/secret: deny-cwd has '*/secret'",
        ),
    ],
)  # fmt: skip
def test_a_denial_names_its_rule(
    tool: str, arguments: list[str], cwd: str, expected: str | None
) -> None:
    denial = policy.denial(RULES, tool, arguments, cwd)
    assert (": ".join(denial) if denial else None) == expected


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "HOME", "BASH_ENV", "NODE_OPTIONS"])
def test_names_that_reach_no_tool(name: str) -> None:
    assert policy.never(["CI", name]) == name
    assert policy.never(["CI", "MY_PATH"]) is None
