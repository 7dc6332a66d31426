"""The project that the tasks are about: its configuration, loaded once, and its words."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aifo_tasks import files
from aifo_tasks.config import load
from aifo_tasks.errors import UnapprovedError
from aifo_tasks.model import Config, Toolchain
from aifo_tasks.tasks import variables

if TYPE_CHECKING:  # only the tasks that run pay for the domain
    from aifo_tasks.registry.references import Chosen, Prefixes
    from aifo_tasks.session.workplace import Choices, Workplace


@functools.cache
def config() -> Config:
    """The configuration of the project in the current directory; raises ConfigError."""
    return load.load(load.find_root(Path.cwd()))


def named() -> Config:
    """What creators take their tasks' names from.

    While a file is not approved that is what is shipped, so that ``trust`` and ``list`` work;
    whatever runs asks for ``config`` and is refused.
    """
    try:
        return config()
    except UnapprovedError:
        return load.load(files.resource("toolchains.yaml").parent)


def words() -> Iterator[tuple[str, Toolchain]]:
    """Each toolchain under each of its task names: its short name, and its kind if that
    differs."""
    for toolchain in named().toolchains:
        for word in dict.fromkeys((toolchain.short, toolchain.kind)):
            yield word, toolchain


def workplace(kind: str, *, caches: bool = True) -> Workplace:
    """The toolchain ``kind`` in this project."""
    from aifo_tasks.session import workplace as workplaces

    toolchain = config().toolchain(kind)
    assert toolchain is not None, kind
    return workplaces.workplace(config(), toolchain, caches=caches)


def prefixes(*, refresh: bool = False) -> Prefixes:
    """Which registries references are looked for in; may ask hosts that the file names."""
    from aifo_tasks.registry import references

    return references.prefixes(config().registry, os.environ, chosen(refresh=refresh))


def chosen(*, refresh: bool = False) -> Chosen:
    """What the command line says of registries."""
    from aifo_tasks.registry.references import Chosen

    given = variables.given()
    internal, mirror = (
        variables.text(name) if name in given else None
        for name in ("INTERNAL_PREFIX", "MIRROR_PREFIX")
    )
    refresh = refresh or variables.flag("REFRESH_REGISTRY")
    return Chosen(internal=internal, mirror=mirror, refresh=refresh)


def choices(*, pull: str, yes: bool, bootstrap: Sequence[str] = ()) -> Choices:
    """What a task's options say, as the domain takes it."""
    from aifo_tasks.session.workplace import Choices

    assert pull in {"auto", "never", "always"}, pull
    return Choices(
        pull=pull,  # type: ignore[arg-type]
        consent=yes,
        bootstrap=tuple(bootstrap),
        registry=chosen(),
    )


COMMON = ("YES", "DRY_RUN", "VERBOSE")
"""Variables that every task that changes something takes."""


def params(*names: str) -> list[dict[str, object]]:
    """The options of a task: these variables and the common ones."""
    return variables.params(*names, *COMMON)
