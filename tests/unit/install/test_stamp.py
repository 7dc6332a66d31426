"""Where the stamp lies, and the sentinel's name, which may come from outside."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aifo_tasks.errors import UsageError
from aifo_tasks.install import npm, stamp
from aifo_tasks.model import Image, Toolchain

from .conftest import Bench

NODE = Toolchain(kind="node", image=Image(name="n", context=Path("/c"), base=()))
CPP = Toolchain(kind="c-cpp", image=NODE.image)


@pytest.mark.parametrize(
    ("toolchain", "environ", "expected"),
    [
        (NODE, {}, ".aifo-node-overlay"),
        (NODE, {"AIFO_NODE_OVERLAY_SENTINEL": ""}, ".aifo-node-overlay"),
        (NODE, {"AIFO_NODE_OVERLAY_SENTINEL": ".mine"}, ".mine"),
        (CPP, {"AIFO_NODE_OVERLAY_SENTINEL": ".mine"}, ".aifo-c-cpp-overlay"),
        (CPP, {"AIFO_CPP_OVERLAY_SENTINEL": ".mine"}, ".mine"),
    ],
)
def test_the_sentinel_has_a_default(
    toolchain: Toolchain, environ: dict[str, str], expected: str
) -> None:
    assert stamp.sentinel(toolchain, "", environ) == expected


def test_in_a_store_the_sentinel_is_the_project_s_own() -> None:
    environ = {"AIFO_NODE_OVERLAY_SENTINEL": ".mine"}
    assert stamp.sentinel(NODE, "0123456789ab", environ) == ".aifo-0123456789ab-node"


@pytest.mark.parametrize("value", ["a/b", "..", ".", "/x", ".aifo-pnpm-lock.hash"])
def test_a_sentinel_elsewhere_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="must be a plain file name"):
        stamp.sentinel(NODE, "", {"AIFO_NODE_OVERLAY_SENTINEL": value})


def test_one_manager_s_install_forgets_the_other_s(bench: Bench) -> None:
    """Of two stamps in one overlay at most one can tell the truth."""
    stamp.write(bench.run, bench.plan, "a" * 64)
    other = dataclasses.replace(bench.plan, manager=npm)
    stamp.clear(bench.run, other)
    stamp.write(bench.run, other, "b" * 64)
    assert stamp.read(bench.run, bench.plan) == ""
    assert stamp.read(bench.run, other) == "b" * 64


def test_the_store_s_record_is_the_project_s_own(bench: Bench) -> None:
    other = dataclasses.replace(bench.plan, key="f" * 12)
    assert stamp.read_warm(bench.run, bench.plan) == ""
    stamp.write_warm(bench.run, bench.plan, "a" * 64)
    stamp.write_warm(bench.run, other, "b" * 64)
    assert stamp.read_warm(bench.run, bench.plan) == "a" * 64
    assert stamp.read_warm(bench.run, other) == "b" * 64
