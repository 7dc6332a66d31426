"""One toolchain in one project, as far as files tell: nothing is asked, nothing started."""

from __future__ import annotations

import os
from dataclasses import field, replace
from pathlib import Path
from typing import Literal

from aifo_tasks import certificates, files, overlay
from aifo_tasks.image import recipe
from aifo_tasks.install import api as install_api
from aifo_tasks.install import key, managers, stamp
from aifo_tasks.model import PROXIES, Config, Toolchain
from aifo_tasks.overlay import Directory, Place
from aifo_tasks.registry.references import Chosen
from aifo_tasks.sidecar.identity import machine_id, owner_of, project_session, session_dir
from aifo_tasks.sidecar.plan import Plan, network_name
from aifo_tasks.value import dataclass

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a command line decides beyond the files: see the variables of the same names."""

    bootstrap: tuple[str, ...] = ()
    pull: Literal["auto", "never", "always"] = "auto"
    no_cache: bool = False
    consent: bool = False
    registry: Chosen = field(default_factory=Chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """One toolchain in one project, as far as files tell: nothing has been asked or started.

    ``install`` is None when the project uses none of the toolchain's package managers;
    ``locked`` tells whether there is a lockfile to install from.
    """

    config: Config
    plan: Plan
    place: Place
    covered: tuple[Directory, ...] = ()
    install: install_api.Plan | None = None
    locked: bool = False

    @property
    def toolchain(self) -> Toolchain:
        return self.plan.toolchain

    @property
    def owner(self) -> tuple[int, int]:
        """The uid and gid that volumes and new directories get."""
        return self.plan.owner.uid, self.plan.owner.gid

    @property
    def image(self) -> str:
        """The reference of the toolchain's image."""
        return self.toolchain.image.reference

    @property
    def lock(self) -> Path:
        """Held while something is installed in this project, in whatever session."""
        session = project_session(self.plan.project)
        return session_dir(session) / f"{self.toolchain.kind}-install.lock"

    def wanted(self) -> str:
        """The key that the overlay's stamp must hold; "" when nothing is installed."""
        return key.key(self.install) if self.install is not None and self.locked else ""


def workplace(config: Config, toolchain: Toolchain, *, caches: bool = True) -> Workplace:
    """Read what the project's files say of a toolchain in it.

    Raises InstallError for lockfiles that contradict each other, UnsafePathError for links.
    """
    project = config.root.resolve()
    owner = owner_of(project)
    scratch = () if caches else tuple(cache.target for cache in toolchain.caches)
    if not caches:
        toolchain = replace(toolchain, caches=())
    machine = os.uname().machine
    place = Place(
        project=project,
        kind=toolchain.kind,
        uid=owner.uid,
        machine=machine_id(),
        platform=f"linux/{_ARCHITECTURES.get(machine, machine)}",
        libc=toolchain.image.libc,
        version=toolchain.image.taken or toolchain.image.version or "",
    )
    inputs, pin = recipe.inputs(toolchain.image), toolchain.image.pin
    if pin is not None:
        inputs = files.digest(inputs, pin.digest)
    found = managers.find(project, toolchain.managers)
    covered: tuple[Directory, ...] = ()
    install = None
    if (
        found is not None
        or not toolchain.managers
        or managers.may_begin(project, toolchain.managers)
    ):
        members = found.manager.members(project) if found is not None else ()
        covered = overlay.directories(toolchain.overlays, members, place)
    binds: tuple[tuple[Path, str], ...] = ()
    if found is not None:
        install = managers.plan(
            found.manager, toolchain, place=place, covered=covered, inputs=inputs,
            environ=os.environ,
        )  # fmt: skip
    if install is not None:
        store = install.store
        toolchain = replace(toolchain, environment=(*toolchain.environment, *store.environment))
        if store.mount and store.host is not None:
            binds = ((store.host, store.target),)
    session = project_session(project)
    plan = Plan(
        toolchain=toolchain,
        inputs=inputs,
        project=project,
        session=session,
        owner=owner,
        covers=tuple((directory.target, directory.volume) for directory in covered),
        proxies=tuple((name, os.environ[name]) for name in PROXIES if os.environ.get(name)),
        binds=binds,
        scratch=scratch,
        network=network_name(toolchain.network, session, os.environ),
        certificates=certificates.bundle(),
        stamp=stamp.path(install) if install is not None else "",
    )
    return Workplace(
        config=config,
        plan=plan,
        place=place,
        covered=covered,
        install=install,
        locked=found is not None and found.locked,
    )
