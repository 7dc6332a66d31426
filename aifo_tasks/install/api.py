"""What a package manager's module offers, and what one install is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from aifo_tasks.overlay import Runner
from aifo_tasks.value import dataclass

__all__ = ["Manager", "Plan", "Runner", "Store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where a package manager keeps what it fetched.

    ``host`` is its directory on this machine, ``target`` the same inside the sidecar; with
    ``mount`` it lies outside the project and needs a mount of its own.
    """

    host: Path
    target: str
    mount: bool = False

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Set in the sidecar: pnpm refuses modules that were linked from another store."""
        return (("npm_config_store_dir", self.target),)


class Manager(Protocol):
    """A package manager; a module of this package satisfies it."""

    NAME: str
    LOCKFILE: str
    ENVIRONMENT: tuple[tuple[str, str], ...]

    def members(self, project: Path) -> tuple[str, ...]:
        """Workspace members besides the root, as paths relative to the project."""
        ...

    def inputs(self, project: Path) -> tuple[tuple[str, bytes | None], ...]:
        """Relative name and content (None: no such file) of all files that change the result."""
        ...

    def changes_modules(self, argv: Sequence[str]) -> bool:
        """True for a command that itself makes a lockfile or what it installs."""
        ...

    def store(self, project: Path, environ: Mapping[str, str]) -> Store:
        """Where this project's packages are kept."""
        ...

    def make_store(self, project: Path, used: Store, owner: tuple[int, int]) -> None:
        """Make a store that lies in the project."""
        ...

    def fetch_argv(self, used: Store) -> tuple[str, ...]:
        """Fill the store from the lockfile, installing nothing."""
        ...

    def install_argv(self, store: Store, *, offline: bool) -> tuple[str, ...]:
        """The frozen install."""
        ...

    def check_store(self, run: Runner, store: Store) -> bool:
        """True when something may be in it already; InstallError when it cannot be written."""
        ...

    def verify(self, run: Runner, plan: Plan) -> str:
        """What is wrong with an install that ended with status 0; "" when nothing is."""
        ...

    def explain(self, output: str, store: Store) -> str:
        """A hint for an install that failed with this output; "" when it says it all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One project's install.

    ``targets`` are the covered directories inside the sidecar, the project's own first, and
    ``volumes`` what covers them. ``toolchain`` is a digest of everything declared about the
    image, ``platform`` names system, architecture and libc. ``sentinel`` is the file that
    marks a directory as an overlay.
    """

    kind: str
    project: Path
    manager: Manager
    store: Store
    targets: Sequence[str]
    volumes: Sequence[str]
    toolchain: str
    platform: str
    sentinel: str = ".aifo-node-overlay"

    @property
    def subject(self) -> str:
        """What messages are about."""
        return f"install {self.kind}"
