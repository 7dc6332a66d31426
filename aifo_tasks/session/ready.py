"""Making a toolchain ready: a warm sidecar found, or whatever is missing made."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aifo_tasks import files, log, overlay
from aifo_tasks.errors import AifoError, EngineError
from aifo_tasks.model import WORKSPACE
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar import record
from aifo_tasks.sidecar.identity import session_dir
from aifo_tasks.sidecar.inside import Inside
from aifo_tasks.sidecar.record import Greeted

if TYPE_CHECKING:
    from aifo_tasks.engine.api import Engine


def get(work: Workplace, choices: Choices, *, changing: bool = False) -> Greeted | None:
    """A sidecar ready for calls: the warm one, else one made ready; None in a dry run."""
    if not choices.bootstrap:
        return warm(work, changing=changing) or prepare(work, choices, changing=changing)
    from aifo_tasks.session import additions

    additions.check(choices.bootstrap)
    greeted = warm(work, changing=changing) or prepare(work, choices, changing=changing)
    if greeted is not None:
        additions.ensure(greeted, choices.bootstrap)
    return greeted


def warm(work: Workplace, *, changing: bool = False) -> Greeted | None:
    """The sidecar that needs nothing but the call, greeted; None for anything else.

    No engine, no package manager and no YAML is asked on this way. A call that is
    ``changing`` the modules needs no finished install.
    """
    if log.is_dry_run():
        return None
    greeted = record.warm(work.plan.session, work.toolchain.kind, work.plan.digest())
    if greeted is None:
        return None
    wanted = work.wanted()
    if changing or not wanted or greeted.welcome.stamp.strip() == wanted.encode():
        return greeted
    greeted.connection.close()
    return None


def prepare(work: Workplace, choices: Choices, *, changing: bool = False) -> Greeted | None:
    """Make a toolchain ready, whatever is missing: engine, image, volumes, sidecar, install.

    Returns the greeted sidecar, None in a dry run. Raises AifoError; a sidecar whose
    overlay is not what it must be is ended.
    """
    from aifo_tasks.image import build
    from aifo_tasks.registry import references
    from aifo_tasks.session import mounts
    from aifo_tasks.sidecar import ending

    with _preparing(work):
        greeted = warm(work, changing=changing)
        if greeted is not None:
            return greeted
        engine = connect(consent=choices.consent)
        ending.reap(engine)
        build.ensure(
            engine,
            work.toolchain,
            prefixes=references.prefixes(work.config.registry, os.environ, choices.registry),
            pull=choices.pull,
            no_cache=choices.no_cache,
            consent=choices.consent,
        )
        overlay.check_host(work.plan.project, work.covered)
        mounts.make_mount_points(work)
        volumes = mounts.ensure_volumes(engine, work)
        if work.toolchain.network == "install-only" and not changing:
            _install_apart(engine, work, volumes, changing=changing)
        return _started(engine, work, volumes, changing=changing)


def connect(*, consent: bool) -> Engine:
    """The engine that answers, through its SDK; one is started or installed with consent.

    Raises EngineError for one that cannot mount what lies on this machine, for one that maps
    users (rootless, userns-remap), and in a dry run that would have to start one first.
    """
    from aifo_tasks.engine import docker, provision

    endpoint = provision.ensure(consent=consent)
    if not endpoint.running:
        raise EngineError(
            "engine", "what comes next depends on what it has", hint="AIFO_YES=1 doit engine"
        )
    if not endpoint.url.startswith("unix://"):
        raise EngineError(
            "engine",
            f"{endpoint.url} is not on this machine and cannot reach the project's files",
            hint="unset DOCKER_HOST"
            if endpoint.source == "DOCKER_HOST"
            else "docker context use default",
        )
    engine = docker.connect(endpoint.url)
    info = engine.info()
    if info.rootless or info.userns_remap:
        raise EngineError(
            "engine",
            f"{endpoint.url} maps users to others: files would not get the right owner yet",
            hint="DOCKER_HOST=unix:///var/run/docker.sock",
        )
    return engine


def stop(engine: Engine, session: str | None) -> tuple[str, ...]:
    """End the sidecars of a session (None: all of this user's here) and what belongs to them.

    Waits for who starts one.
    """
    from aifo_tasks.session import mounts
    from aifo_tasks.sidecar import ending

    ended = [session] if session is not None else [*ending.stoppable(engine), *mounts.recorded()]
    names: list[str] = []
    for each in dict.fromkeys(ended):
        with _locked(_starts(each), lambda: log.step("sidecar_stop", "waiting for a start")):
            names += ending.stop(engine, each)
            mounts.remove_mount_points(engine, each)
    return tuple(sorted(names))


def release(engine: Engine, session: str) -> None:
    """Take away what a session's mounts needed on the host, unless somebody mounts it."""
    from aifo_tasks.session import mounts

    if log.is_dry_run():
        return
    with files.claimed(_starts(session)) as nobody_starts:
        if nobody_starts:
            mounts.remove_mount_points(engine, session)


def _started(
    engine: Engine, work: Workplace, volumes: Mapping[str, str], *, changing: bool
) -> Greeted | None:
    """The sidecar of the plan, running, guarded, with its install done."""
    from aifo_tasks.sidecar import life

    greeted = life.ensure(engine, work.plan, volumes)
    try:
        _settle(engine, work, greeted, volumes, changing=changing)
    except BaseException:
        if greeted is not None:
            greeted.connection.close()
        raise
    return greeted


def _install_apart(
    engine: Engine, work: Workplace, volumes: Mapping[str, str], *, changing: bool
) -> None:
    """Install in a sidecar of its own that has a network, and end it on every path."""
    apart = networked(work)
    try:
        greeted = _started(engine, apart, volumes, changing=changing)
        if greeted is not None:
            greeted.connection.close()
    finally:
        if log.is_dry_run():
            engine.remove_container(apart.plan.name)
        else:
            end(engine, apart)


def networked(work: Workplace) -> Workplace:
    """The same with a network where only installs have one."""
    if work.toolchain.network != "install-only":
        return work
    toolchain = replace(work.toolchain, network="bridge")
    return replace(work, plan=replace(work.plan, toolchain=toolchain, network="bridge"))


def end(engine: Engine, work: Workplace) -> None:
    """End the sidecars of exactly this plan."""
    mine = {"io.aifo.session": work.plan.session, "io.aifo.spec": work.plan.digest()}
    for state in engine.containers(mine):
        engine.remove_container(state.name)
        record.forget(work.plan.session, state.name)


def _settle(
    engine: Engine,
    work: Workplace,
    greeted: Greeted | None,
    volumes: Mapping[str, str],
    *,
    changing: bool,
) -> None:
    """Guard the overlays of a running sidecar and install into them."""
    from aifo_tasks import cache
    from aifo_tasks.install import frozen, managers
    from aifo_tasks.session import mounts

    if greeted is None:
        if work.install is not None and work.locked and not changing:
            from aifo_tasks.session.preview import print_call

            for argv in work.install.manager.install(work.install, offline=False):
                print_call(work.plan.name, argv, WORKSPACE, dict(work.install.manager.ENVIRONMENT))
        return
    run = Inside(greeted)
    cache.repair(engine, run, mounts.mounted(work, volumes), work.owner, work.image)
    try:
        state = engine.container(greeted.record.name) if work.covered else None
        if state is not None:
            overlay.check_engine(state, mounts.overlay_states(engine, work), work.covered)
        overlay.guard(run, [directory.target for directory in work.covered])
    except AifoError:
        engine.remove_container(greeted.record.name)
        record.forget(work.plan.session, greeted.record.name)
        raise
    if work.install is None or changing:
        return
    if work.locked:
        frozen.ensure(run, work.install, work.lock)
    else:
        names = managers.known_lockfiles(work.toolchain.managers)
        log.warn(work.install.subject, f"nothing is installed: there is no {' or '.join(names)}")


@contextlib.contextmanager
def changing_modules(work: Workplace, greeted: Greeted) -> Iterator[None]:
    """Drop the stamp and keep every install out while a call changes what it stands for."""
    from aifo_tasks.install import frozen

    assert work.install is not None
    with frozen.forgotten(Inside(greeted), work.install, work.lock):
        yield


@contextlib.contextmanager
def _preparing(work: Workplace) -> Iterator[None]:
    """Nobody else makes this toolchain ready, and nobody stops the session."""
    kind, session = work.toolchain.kind, work.plan.session

    def say() -> None:
        log.step(f"toolchain {kind}", "another process makes it ready; waiting for that")

    with (
        _locked(_starts(session), say, shared=True),
        _locked(_starts(session).with_name(f"{kind}-prepare.lock"), say),
    ):
        yield


def _starts(session: str) -> Path:
    """The lock that those share who start something in a session, and who stops it holds alone."""
    return session_dir(session) / "starts.lock"


@contextlib.contextmanager
def _locked(path: Path, on_wait: Callable[[], None], *, shared: bool = False) -> Iterator[None]:
    """The lock at ``path``, unless in a dry run, which touches nothing."""
    if log.is_dry_run():
        yield
        return
    with files.locked(path, on_wait=on_wait, shared=shared):
        yield
