"""What the options of proxy and shell say: which toolchains, and how they are called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from aifo_tasks.errors import UsageError
from aifo_tasks.tasks import project

if TYPE_CHECKING:  # only the tasks that run pay for the domain
    from aifo_tasks.session.workplace import Choices, Workplace

VARIABLES = (
    "TOOLCHAINS", "TOOLCHAIN", "TRANSPORT", "TOOLCHAIN_UNIX_SOCKET", "PULL", "TOOLCHAIN_CACHE",
    "BOOTSTRAP", "TOOLCHAIN_BOOTSTRAP", "TOOLCHAIN_IMAGE", "TOOLCHAIN_SPEC",
)  # fmt: skip
"""The variables that both take."""

Options = Mapping[str, Any]  # doit has no types


def works(options: Options) -> list[Workplace]:
    """The toolchains asked for, else those that the project uses."""
    named = [*options["toolchains"], *options["toolchain"]]
    specs = [*options["toolchain_spec"], *(word for word in named if "@" in word)]
    asked = [*named, *specs, *options["toolchain_image"]]
    found = [
        project.workplace(
            kind,
            caches=options["toolchain_cache"],
            images=options["toolchain_image"],
            specs=specs,
        )
        for kind in (_chosen(asked) if asked else _declared())
    ]
    return found if asked else _used(found)


def choices(options: Options) -> Choices:
    """What the options say, as the domain takes it."""
    bootstrap = [*options["bootstrap"], *options["toolchain_bootstrap"]]
    return project.choices(pull=options["pull"], yes=options["yes"], bootstrap=bootstrap)


def transport(options: Options) -> Literal["unix", "tcp"]:
    """How calls reach the proxy. Raises UsageError for what contradicts itself."""
    asked = options["transport"]
    wish = options["toolchain_unix_socket"] or os.environ.get("AIFO_TOOLEEXEC_USE_UNIX") == "1"
    if wish and asked == "tcp":
        raise UsageError(
            "TRANSPORT", "tcp contradicts the wish for a unix socket", hint="TRANSPORT=unix"
        )
    return "tcp" if asked == "tcp" else "unix"


def _declared() -> list[str]:
    return [each.kind for each in project.config().toolchains]


def _chosen(words: list[str]) -> list[str]:
    """The kinds that these words mean, each once."""
    return list(dict.fromkeys(project.toolchain(word).kind for word in words))


def _used(found: list[Workplace]) -> list[Workplace]:
    """Those whose package managers the project uses; if none, the only one there is."""
    used = [work for work in found if work.install is not None]
    if not used and len(found) > 1:
        hint = f"TOOLCHAINS={found[0].toolchain.kind}"
        raise UsageError("TOOLCHAINS", "the project's files name none", hint=hint)
    return used or found
