"""What of a call is let through: environment variables, directories, arguments; pure."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase, translate

from aifo_tasks.model import WORKSPACE, Rule, Tool

BASE = (
    "TERM", "COLORTERM", "COLUMNS", "LINES", "CI", "NO_COLOR", "FORCE_COLOR", "CLICOLOR",
    "LANG", "LC_ALL", "TZ", "MAKEFLAGS", "MFLAGS",
)  # fmt: skip
"""Names and patterns that every toolchain lets in."""

NEVER = ("LD_*", "PATH", "HOME", "BASH_ENV", "NODE_OPTIONS")
"""What changes which code runs, before the tool itself has a say; no file can allow it."""

_FORWARD = "AIFO_ENV_"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REMEMBERED = 4096
"""Names of variables whose answer is kept: an environment is much the same every time."""


class Admission:
    """Which of a caller's variables a toolchain lets in.

    ``patterns`` are the toolchain's, ``own`` the names that the sidecar sets itself: they
    lie in directories of the sidecar and are never overridden, in whatever case (npm reads
    both). ``AIFO_ENV_<NAME>`` stands for NAME where the patterns let NAME in.
    """

    def __init__(self, patterns: Iterable[str], own: Collection[str]) -> None:
        self._own = {name.lower() for name in own}
        self._allowed = _any((*BASE, *patterns))
        self._target = functools.lru_cache(REMEMBERED)(self._find)

    def names(self, given: Collection[str]) -> Iterator[tuple[str, str]]:
        """Those of the given names that are let in, each with its name in the sidecar."""
        for name in given:
            target = self._target(name)
            if target and (target != name or _FORWARD + name not in given):
                yield name, target

    def _find(self, name: str) -> str:
        target = name.removeprefix(_FORWARD)
        welcome = _NAME.fullmatch(target) is not None and self._allowed.match(target) is not None
        return target if welcome and target.lower() not in self._own and not _never(target) else ""


def forwarded(
    environ: Mapping[str, str], patterns: Iterable[str], own: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """The variables of ``environ`` that a call carries, sorted by name; see ``Admission``."""
    names = Admission(patterns, own).names(environ)
    return tuple(sorted((target, carried(target, environ[name])) for name, target in names))


def carried(name: str, value: str) -> str:
    """A variable's value as the sidecar gets it."""
    return _without_jobserver(value) if name in {"MAKEFLAGS", "MFLAGS"} else value


def never(names: Iterable[str]) -> str | None:
    """The first of these names that reaches no tool, whatever a file says."""
    return next(filter(_never, names), None)


def directory(tool: Tool, cwd: str) -> str | None:
    """The tool's working directory for a caller's ``cwd``; None when it may not be called there.

    ``cwd`` is absolute and has no ``..``.
    """
    path = posixpath.normpath(cwd)
    path = path.removeprefix("/") if path.startswith("//") else path
    if path == WORKSPACE or path.startswith(f"{WORKSPACE}/"):
        return path
    return WORKSPACE if tool.cwd == "any" else None


def denial(
    rules: Iterable[Rule], tool: str, arguments: Sequence[str], cwd: str
) -> tuple[str, str] | None:
    """What is forbidden about this call, and by which rule; None when nothing is."""
    for rule in rules:
        if rule.tool != tool:
            continue
        where = _forbidden([cwd], rule.allow_cwd, rule.deny_cwd, "cwd")
        what = _forbidden(arguments, rule.allow_arguments, rule.deny_arguments, "arguments")
        if found := where or what:
            return f"{tool}: {found[0][:200]}", found[1]
    return None


def _forbidden(
    values: Iterable[str], allow: Sequence[str], deny: Sequence[str], what: str
) -> tuple[str, str] | None:
    for value in values:
        for pattern in deny:
            if fnmatchcase(value, pattern):
                return value, f"deny-{what} has '{pattern}'"
        if allow and not any(fnmatchcase(value, pattern) for pattern in allow):
            return value, f"allow-{what} has nothing for it"
    return None


def _any(patterns: Iterable[str]) -> re.Pattern[str]:
    """What matches where one of the patterns does."""
    return re.compile("|".join(map(translate, patterns)))


@functools.lru_cache(REMEMBERED)
def _never(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in NEVER)


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
