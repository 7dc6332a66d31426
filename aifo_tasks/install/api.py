"""What a package manager's module offers, and what one install is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from aifo_tasks.overlay import Runner
from aifo_tasks.value import dataclass

__all__ = ["Commands", "Manager", "Plan", "Runner", "Store"]

Commands = tuple[tuple[str, ...], ...]
"""Argument lists that run one after the other, up to the first that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where a package manager keeps what it fetched.

    ``target`` is its directory inside the sidecar and ``also`` are further ones. They lie in
    cache volumes, unless ``host`` names the directory on this machine: then in the project, or
    with ``mount`` outside of it. ``environment`` is set in the sidecar.
    """

    target: str
    also: tuple[str, ...] = ()
    host: Path | None = None
    mount: bool = False
    environment: tuple[tuple[str, str], ...] = ()


class Manager(Protocol):
    """A package manager; a module of this package satisfies it.

    ``DIRECTORY`` is what it installs into and an overlay covers, such as ``node_modules``;
    "" for one that has nothing but its store. ``ENVIRONMENT`` is set for its own commands.
    """

    NAME: str
    DIRECTORY: str
    ENVIRONMENT: tuple[tuple[str, str], ...]

    def uses(self, project: Path) -> bool:
        """True for a project without a lockfile whose manifest asks for this manager."""
        ...

    def members(self, project: Path) -> tuple[str, ...]:
        """Workspace members besides the root, as paths relative to the project."""
        ...

    def inputs(self, project: Path) -> tuple[tuple[str, bytes | None], ...]:
        """Relative name and content (None: no such file) of all files that change the result."""
        ...

    def changes_modules(self, argv: Sequence[str]) -> bool:
        """True for a command that itself makes a lockfile or what it installs."""
        ...

    def store(
        self, project: Path, declared: Mapping[str, str], environ: Mapping[str, str]
    ) -> Store:
        """Where this project's packages are kept.

        ``declared`` is the toolchain's environment, ``environ`` the caller's.
        """
        ...

    def install(self, plan: Plan, *, offline: bool) -> Commands:
        """The frozen install, run in the project."""
        ...

    def fetch(self, plan: Plan) -> Commands:
        """Fill the store from the lockfile, installing nothing."""
        ...

    def verify(self, run: Runner, plan: Plan) -> str:
        """What is wrong with an install that ended with status 0; "" when nothing is."""
        ...

    def explain(self, output: str, plan: Plan) -> str:
        """A hint for an install that failed with this output; "" when it says it all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One project's install.

    ``targets`` are the directories inside the sidecar that hold what is installed, the
    project's own first, and ``volumes`` what covers them. A store's directories are shared
    with other projects: ``key`` names what is this project's in them. ``toolchain`` is a
    digest of everything declared about the image, ``platform`` names system, architecture
    and libc. ``sentinel`` is the file that marks each target.
    """

    kind: str
    project: Path
    manager: Manager
    store: Store
    targets: Sequence[str]
    volumes: Sequence[str]
    key: str
    toolchain: str
    platform: str
    sentinel: str

    @property
    def subject(self) -> str:
        """What messages are about."""
        return f"install {self.kind}"

    @property
    def shared(self) -> bool:
        """True when it is installed where other projects install too."""
        return not self.manager.DIRECTORY
