"""Which of a caller's environment variables reach a tool; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

BASE = (
    "TERM", "COLORTERM", "COLUMNS", "LINES", "CI", "NO_COLOR", "FORCE_COLOR", "CLICOLOR",
    "LANG", "LC_ALL", "TZ", "MAKEFLAGS", "MFLAGS",
)  # fmt: skip
"""Names and patterns that every toolchain lets in."""

NEVER = ("LD_*", "PATH", "HOME", "BASH_ENV", "NODE_OPTIONS")
"""What changes which code runs, before the tool itself has a say; no file can allow it."""

_FORWARD = "AIFO_ENV_"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def forwarded(
    environ: Mapping[str, str], patterns: Iterable[str], own: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """The variables of ``environ`` that a call carries, sorted by name.

    ``patterns`` are the toolchain's, ``own`` the names that the sidecar sets itself: they
    lie in directories of the sidecar and are never overridden, in whatever case (npm reads
    both). ``AIFO_ENV_<NAME>`` stands for NAME where the patterns let NAME in.
    """
    allowed = (*BASE, *patterns)
    mine = {name.lower() for name in own}
    found = {}
    for name, value in environ.items():
        given = name.removeprefix(_FORWARD)
        if given.lower() in mine or not _admits(allowed, given):
            continue
        if name == given and _FORWARD + name in environ:
            continue
        found[given] = _without_jobserver(value) if given in {"MAKEFLAGS", "MFLAGS"} else value
    return tuple(sorted(found.items()))


def _admits(allowed: Iterable[str], name: str) -> bool:
    return (
        _NAME.fullmatch(name) is not None
        and any(fnmatchcase(name, pattern) for pattern in allowed)
        and not any(fnmatchcase(name, pattern) for pattern in NEVER)
    )


def _without_jobserver(flags: str) -> str:
    """Make's flags without its job slots: their descriptors do not exist in the sidecar.

    The first word may be a bundle of single letters without a dash (GNU make's own form).
    """
    words = flags.split(" ")
    first = words[0]
    if first and not first.startswith("-") and "=" not in first:
        words[0] = first.replace("j", "")
    return " ".join(
        word
        for word in words
        if not re.fullmatch(r"-j\d*|--jobs(=\d+)?|--jobserver-(auth|fds|style)=.*", word)
    )
