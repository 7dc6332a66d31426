"""The variables of the command line: typed, checked, and the defaults of task options.

``NAME=value`` on the command line wins over ``AIFO_NAME`` in the environment, which wins
over the default.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Literal

from aifo_tasks.errors import UsageError
from aifo_tasks.spec import Source
from aifo_tasks.value import dataclass

Value = bool | str | list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable: ``kind`` says how its text is read, ``choices`` belong to a choice."""

    name: str
    help: str
    kind: Literal["bool", "str", "list", "choice"] = "bool"
    default: bool | str | tuple[str, ...] = False
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """Its long option without the dashes: ``no-cache`` for NO_CACHE."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A value and where it comes from; a list is a new one each time."""

    value: Value
    source: Source


_REGISTRY: dict[str, Variable] = {}
_BOOLEANS = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


def declare(*variables: Variable) -> None:
    """Make variables known; a project's dodo.py declares those of its own tasks so."""
    for variable in variables:
        _REGISTRY[variable.name] = variable


declare(
    Variable(name="DRY_RUN", help="print every step as commands and change nothing"),
    Variable(name="VERBOSE", help="print the commands that change something while running"),
    Variable(name="NO_CACHE", help="build without the build cache"),
    Variable(
        name="PLATFORMS", kind="list", default=(),
        help="what an image is built for, separated by commas: linux/amd64,linux/arm64",
    ),
    Variable(name="PUSH", help="send the image to REGISTRY, or without one into dist/"),
    Variable(
        name="REGISTRY", kind="str", default="",
        help="where an image is pushed to: registry.example/team/",
    ),
    Variable(name="TAG", kind="str", default="", help="the published image's tag, else latest"),
    Variable(name="ATTEST", help="publish an SBOM and the provenance with the image"),
    Variable(name="BUILDER", kind="str", default="default", help="the builder of docker buildx"),
    Variable(
        name="CACHE_FROM", kind="list", default=(),
        help="where builds may take layers from: references or directories",
    ),
    Variable(
        name="CACHE_TO", kind="list", default=(),
        help="where builds leave their layers: references or directories",
    ),
    Variable(name="LOCKED", help="refuse whatever is not what toolchains.lock names"),
    Variable(name="YES", help="do not ask, do it"),
    Variable(name="ALL", help="all projects of this user, not only this one"),
    Variable(name="OVERLAYS", help="dependency directories too"),
    Variable(
        name="PULL", kind="choice", default="auto", choices=("auto", "never", "always"),
        help="when to ask an image registry",
    ),
    Variable(
        name="TOOLCHAIN_CACHE", default=True,
        help="use the cache volumes; --no-toolchain-cache runs without them",
    ),
    Variable(
        name="BOOTSTRAP", kind="list", default=(),
        help="what a sidecar gets besides its image: typescript=global",
    ),
    Variable(
        name="TOOLCHAIN_IMAGE", kind="list", default=(),
        help="images to use instead of our own: KIND=IMAGE",
    ),
    Variable(
        name="TOOLCHAIN_SPEC", kind="list", default=(),
        help="versions of toolchains: KIND@VERSION",
    ),
    Variable(
        name="TOOLCHAINS", kind="list", default=(),
        help="kinds, separated by commas; without it those that the project uses",
    ),
    Variable(
        name="TOOLCHAIN", kind="list", default=(), help="a kind; may be given several times",
    ),
    Variable(
        name="TOOLCHAIN_BOOTSTRAP", kind="list", default=(), help="the same as --bootstrap",
    ),
    Variable(
        name="TRANSPORT", kind="choice", default="unix", choices=("unix", "tcp"),
        help="how calls reach the proxy",
    ),
    Variable(name="TOOLCHAIN_UNIX_SOCKET", help="the same as --transport unix"),
    Variable(
        name="IMAGE", kind="str", default="",
        help="the image a shell runs in; without it a plain Debian",
    ),
    Variable(
        name="INTERNAL_PREFIX", kind="str", default="",
        help="the registry and path of images built here",
    ),
    Variable(
        name="MIRROR_PREFIX", kind="str", default="",
        help="the registry and path that other images are asked of",
    ),
    Variable(name="REFRESH_REGISTRY", help="ask anew which registries answer"),
    Variable(name="REF", kind="str", default="", help="an image reference"),
    Variable(name="FILE", kind="str", default="", help="a file to read or write"),
    Variable(
        name="TIME_LIMIT", kind="str", default="",
        help="seconds after which the container ends (status 124)",
    ),
    Variable(name="MEMORY_LIMIT", kind="str", default="", help="memory, such as 512m"),
    Variable(
        name="OUTPUT_LIMIT", kind="str", default="",
        help="what is shown of stdout and of stderr at most, such as 1m",
    ),
    Variable(name="DIR", kind="str", default="", help="a directory to read or write"),
)  # fmt: skip


_UNPREFIXED = frozenset({"DRY_RUN"})
"""Taken from the environment without AIFO_ too: before a command by mistake, it would run that."""


def resolve(name: str) -> Resolved:
    """The value of a declared variable. Raises UsageError for a text it cannot have."""
    variable = _known(name)
    given = _command_line().get(name)
    if given is not None:
        return Resolved(value=_read(variable, given, name), source=Source.COMMAND_LINE)
    for key in (f"AIFO_{name}", name) if name in _UNPREFIXED else (f"AIFO_{name}",):
        if given := os.environ.get(key, ""):
            return Resolved(value=_read(variable, given, key), source=Source.ENVIRONMENT)
    default = variable.default
    return Resolved(
        value=list(default) if isinstance(default, tuple) else default, source=Source.DEFAULT
    )


def flag(name: str) -> bool:
    """The value of a bool variable."""
    return bool(resolve(name).value)


def text(name: str) -> str:
    """The value of a str or choice variable."""
    return str(resolve(name).value)


def params(*names: str) -> list[dict[str, object]]:
    """doit's ``params`` for a task that takes these variables as options.

    ``params("NO_CACHE")`` gives the option ``--no-cache`` (its opposite is ``--cache``),
    passed to the action as ``no_cache``; its default is the variable's value now.
    """
    return [_param(_known(name)) for name in names]


def check(names: Iterable[str]) -> None:
    """Raises UsageError for the first variable nobody declared."""
    for name in names:
        _known(name)


def given() -> list[str]:
    """Names of the variables on the command line."""
    return list(_command_line())


def _param(variable: Variable) -> dict[str, object]:
    types: Mapping[str, type] = {"bool": bool, "list": list}
    option = variable.option
    param: dict[str, object] = {
        "name": variable.name.lower(),
        "long": option,
        "type": types.get(variable.kind, str),
        "default": resolve(variable.name).value,
        "help": variable.help.replace("%", "%%"),
    }
    if variable.kind == "bool":
        param["inverse"] = option[3:] if option.startswith("no-") else f"no-{option}"
    if variable.choices:
        param["choices"] = [(choice, "") for choice in variable.choices]
    return param


def _read(variable: Variable, given: str, written: str) -> Value:
    if variable.kind == "list":
        return [part.strip() for part in given.split(",") if part.strip()]
    if variable.kind == "bool":
        if given.lower() not in _BOOLEANS:
            raise UsageError(
                written, f"expected 1 or 0, found '{given}'", hint=f"{written}=1"
            )  # fmt: skip
        return _BOOLEANS[given.lower()]
    if variable.choices and given not in variable.choices:
        raise UsageError(
            written, f"expected one of {', '.join(variable.choices)}, found '{given}'",
            hint=f"{written}={variable.default}",
        )  # fmt: skip
    return given


def _known(name: str) -> Variable:
    if name in _REGISTRY:
        return _REGISTRY[name]
    import difflib

    close = difflib.get_close_matches(name.upper(), _REGISTRY, n=1, cutoff=0.5)
    raise UsageError(
        name, "no such variable",
        hint=f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(_REGISTRY))}",
    )  # fmt: skip


def _command_line() -> Mapping[str, str]:
    from doit import doit_cmd

    return doit_cmd._CMDLINE_VARS or {}  # noqa: SLF001  # get_var has no way to list them
