"""The sentinel's name comes from outside and stays a plain name."""

from __future__ import annotations

import pytest

from aifo_tasks.errors import UsageError
from aifo_tasks.install import stamp


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ".aifo-node-overlay"), ("", ".aifo-node-overlay"), (".mine", ".mine")],
)
def test_the_sentinel_has_a_default(value: str | None, expected: str) -> None:
    environ = {} if value is None else {"AIFO_NODE_OVERLAY_SENTINEL": value}
    assert stamp.sentinel(environ) == expected


@pytest.mark.parametrize("value", ["a/b", "..", ".", "/x", ".aifo-pnpm-lock.hash"])
def test_a_sentinel_elsewhere_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="must be a plain file name"):
        stamp.sentinel({"AIFO_NODE_OVERLAY_SENTINEL": value})
