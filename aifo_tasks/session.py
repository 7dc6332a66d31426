"""A project's session: its toolchains made ready, and calls into them."""

from __future__ import annotations

import contextlib
import json
import os
import platform as machine
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from aifo_tasks import __version__, certificates, files, log, overlay
from aifo_tasks.errors import AifoError
from aifo_tasks.image import recipe
from aifo_tasks.install import api as install_api
from aifo_tasks.install import key, managers, stamp
from aifo_tasks.model import WORKSPACE, Config, Toolchain
from aifo_tasks.overlay import Directory, Place
from aifo_tasks.sidecar import record
from aifo_tasks.sidecar.identity import machine_id, owner_of, project_session, session_dir
from aifo_tasks.sidecar.plan import Plan
from aifo_tasks.sidecar.record import Greeted
from aifo_tasks.toolexec import launcher, policy

if TYPE_CHECKING:
    from aifo_tasks.engine.api import ContainerState, Engine

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a command line decides beyond the files: see the variables of the same names."""

    caches: bool = True
    pull: Literal["auto", "never", "always"] = "auto"
    no_cache: bool = False
    consent: bool = False


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
    def lock(self) -> Path:
        """Held while something is installed in this project."""
        return session_dir(self.plan.session) / f"{self.toolchain.kind}-install.lock"

    def wanted(self) -> str:
        """The key that the overlay's stamp must hold; "" when nothing is installed."""
        return key.key(self.install) if self.install is not None and self.locked else ""


def workplace(config: Config, toolchain: Toolchain, *, caches: bool = True) -> Workplace:
    """Read what the project's files say of a toolchain in it.

    Raises InstallError for lockfiles that contradict each other, UnsafePathError for links.
    """
    project = config.root.resolve()
    owner = owner_of(project)
    if not caches:
        toolchain = replace(toolchain, caches=())
    place = Place(
        project=project,
        kind=toolchain.kind,
        uid=owner.uid,
        machine=machine_id(),
        platform=f"linux/{_ARCHITECTURES.get(machine.machine(), machine.machine())}",
        libc=toolchain.image.libc,
        version=toolchain.image.version or "",
    )
    inputs = recipe.inputs(toolchain.image)
    found = managers.find(project, toolchain.managers)
    covered: tuple[Directory, ...] = ()
    install = None
    binds: tuple[tuple[Path, str], ...] = ()
    if found is not None:
        covered = overlay.directories(toolchain.overlays, found.manager.members(project), place)
        store = found.manager.store(project, os.environ)
        binds = ((store.host, store.target),) if store.mount else ()
        toolchain = replace(toolchain, environment=(*toolchain.environment, *store.environment))
        install = install_api.Plan(
            kind=toolchain.kind,
            project=project,
            manager=found.manager,
            store=store,
            targets=tuple(directory.target for directory in covered),
            volumes=tuple(directory.volume for directory in covered),
            toolchain=inputs,
            platform=f"{place.platform}/{place.libc}",
            sentinel=stamp.sentinel(os.environ),
        )
    plan = Plan(
        toolchain=toolchain,
        inputs=inputs,
        project=project,
        session=project_session(project),
        owner=owner,
        covers=tuple((directory.target, directory.volume) for directory in covered),
        proxies=tuple((name, os.environ[name]) for name in PROXIES if os.environ.get(name)),
        binds=binds,
        certificates=certificates.bundle(),
        stamp=stamp.PATH if install is not None else "",
    )
    return Workplace(
        config=config,
        plan=plan,
        place=place,
        covered=covered,
        install=install,
        locked=found is not None and found.locked,
    )


def call(work: Workplace, argv: Sequence[str], *, cwd: str, choices: Choices) -> int:
    """Run a command in the toolchain on this process's own streams; returns its exit status.

    A warm sidecar whose spec and stamp are what the files say takes the call at once; else
    everything is made ready first. Raises AifoError for what the user can mend.
    """
    changing = work.install is not None and _changes_modules(work, argv)
    greeted = warm(work, changing=changing) or prepare(work, choices, changing=changing)
    environment = call_environment(work)
    if greeted is None:
        _print_call(work, argv, cwd, environment)
        return 0
    if changing:
        _forget_stamp(work, greeted)
    request = launcher.Call(argv=argv, cwd=cwd, environment=environment)
    return launcher.attach(greeted.connection, request)


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
    from aifo_tasks.sidecar import life

    lock = session_dir(work.plan.session) / f"{work.toolchain.kind}-prepare.lock"
    with _locked(lock, lambda: _say_waiting(work)):
        greeted = warm(work, changing=changing)
        if greeted is not None:
            return greeted
        engine = connect(consent=choices.consent)
        life.reap(engine)
        build.ensure(
            engine,
            work.toolchain,
            prefixes=_prefixes(work.config),
            pull=choices.pull,
            no_cache=choices.no_cache,
            consent=choices.consent,
        )
        overlay.check_host(work.plan.project, work.covered)
        _make_mount_points(work)
        volumes = _volumes(engine, work)
        greeted = life.ensure(engine, work.plan, volumes)
        try:
            _settle(engine, work, greeted, changing=changing)
        except BaseException:
            if greeted is not None:
                greeted.connection.close()
            raise
        return greeted


def connect(*, consent: bool) -> Engine:
    """The engine that answers, through its SDK; one is started or installed with consent."""
    from aifo_tasks.engine import docker, provision

    return docker.connect(provision.ensure(consent=consent).url)


def runner(greeted: Greeted) -> overlay.Runner:
    """Runs commands in a sidecar, each over a connection of its own."""

    def run(
        argv: Sequence[str],
        *,
        cwd: str = WORKSPACE,
        environment: Mapping[str, str] = _NOTHING,
        stdin: int | None = None,
        on_output: Callable[[bytes], None],
    ) -> int:
        connection = launcher.connect(greeted.record.peer)
        request = launcher.Call(argv=argv, cwd=cwd, environment=environment)
        return launcher.capture(connection, request, stdin=stdin, on_output=on_output)

    return run


def call_environment(work: Workplace) -> dict[str, str]:
    """The caller's variables that reach a tool of this toolchain."""
    own = work.plan.environment()
    own.pop("LANG")  # the only one of ours that is a wish of the caller's
    return dict(policy.forwarded(os.environ, work.toolchain.forward, own))


def container_cwd(work: Workplace, directory: Path) -> str:
    """Where ``directory`` of the host is inside the sidecar.

    Raises AifoError when it lies outside the project.
    """
    try:
        relative = directory.resolve().relative_to(work.plan.project)
    except ValueError:
        raise AifoError(
            str(directory), "is outside the project", hint=f"cd {work.plan.project}"
        ) from None
    return WORKSPACE if relative == Path() else f"{WORKSPACE}/{relative.as_posix()}"


def stop(engine: Engine, session: str | None) -> tuple[str, ...]:
    """End the sidecars of a session (None: all of this user's here) and what belongs to them."""
    from aifo_tasks.sidecar import life

    names = life.stop(engine, session=session)
    sessions = [session] if session is not None else [d.name for d in files.run_dir().iterdir()]
    for name in sessions:
        _remove_mount_points(files.run_dir() / name / "mount-points.json")
    return names


def _settle(
    engine: Engine, work: Workplace, greeted: Greeted | None, *, changing: bool
) -> None:
    """Guard the overlays of a running sidecar and install into them."""
    from aifo_tasks.install import frozen

    if work.install is None:
        return
    if greeted is None:
        if work.locked and not changing:
            for argv in frozen.steps(work.install):
                _print_call(work, argv, WORKSPACE, dict(work.install.manager.ENVIRONMENT))
        return
    run = runner(greeted)
    try:
        state = engine.container(greeted.record.name)
        if state is not None:
            overlay.check_engine(state, _states(engine, work), work.covered)
        overlay.guard(run, work.install.targets)
    except AifoError:
        engine.remove_container(greeted.record.name)
        record.forget(work.plan.session, greeted.record.name)
        raise
    if changing:
        return
    if work.locked:
        frozen.ensure(run, work.install, work.lock)
    else:
        log.warn(
            f"install {work.toolchain.kind}",
            f"there is no {work.install.manager.LOCKFILE}: nothing is installed",
        )


def _states(engine: Engine, work: Workplace) -> dict[str, object]:
    found = {directory.volume: engine.volume(directory.volume) for directory in work.covered}
    return {name: state for name, state in found.items() if state is not None}


def _volumes(engine: Engine, work: Workplace) -> dict[str, str]:
    """Make the volumes of a plan and own them; the actual name of each declared one."""
    from aifo_tasks import cache

    owner = (work.plan.owner.uid, work.plan.owner.gid)
    image = work.toolchain.image.reference
    names = {
        declared.volume: cache.ensure_cache(engine, declared, work.toolchain, owner, image)
        for declared in work.toolchain.caches
    }
    for directory in work.covered:
        spec = overlay.volume_spec(directory, work.place, __version__)
        cache.ensure(engine, spec, owner, image)
        names[directory.volume] = directory.volume
    return names


def _make_mount_points(work: Workplace) -> None:
    owner = (work.plan.owner.uid, work.plan.owner.gid)
    made = overlay.make_mount_points(work.plan.project, work.covered, owner)
    if work.install is not None:
        work.install.manager.make_store(work.plan.project, work.install.store, owner)
    if made and not log.is_dry_run():
        path = session_dir(work.plan.session) / "mount-points.json"
        known = _mount_points(path)[1]
        entry = {"project": str(work.plan.project), "made": sorted({*known, *made})}
        files.write_quietly(path, json.dumps(entry).encode())


def _mount_points(path: Path) -> tuple[Path, tuple[str, ...]]:
    try:
        entry = json.loads(path.read_bytes())
        return Path(entry["project"]), tuple(map(str, entry["made"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Path(), ()


def _remove_mount_points(path: Path) -> None:
    """Take away the empty directories that were made for mounts, once nothing is mounted."""
    project, made = _mount_points(path)
    if not made:
        return
    overlay.remove_mount_points(project, made)
    if not log.is_dry_run():
        path.unlink(missing_ok=True)


def _changes_modules(work: Workplace, argv: Sequence[str]) -> bool:
    assert work.install is not None
    return work.install.manager.changes_modules(argv)


def _forget_stamp(work: Workplace, greeted: Greeted) -> None:
    from aifo_tasks.install import frozen

    assert work.install is not None
    frozen.forget(runner(greeted), work.install, work.lock)


def _prefixes(config: Config) -> object:
    from aifo_tasks import registry

    return registry.prefixes(config.registry, os.environ)


def _say_waiting(work: Workplace) -> None:
    log.step(
        f"toolchain {work.toolchain.kind}", "another process makes it ready; waiting for that"
    )


@contextlib.contextmanager
def _locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """The lock at ``path``, unless in a dry run, which touches nothing."""
    if log.is_dry_run():
        yield
        return
    with files.locked(path, on_wait=on_wait):
        yield


def _print_call(
    work: Workplace, argv: Sequence[str], cwd: str, environment: Mapping[str, str]
) -> None:
    """Print the call as ``docker exec`` makes it, for a dry run.

    docker takes a variable without a value from the caller's environment: no value that may
    be a secret is printed.
    """
    options = []
    for name, value in environment.items():
        options += ["-e", name if os.environ.get(name) == value else f"{name}={value}"]
    log.command(
        shlex.join(["docker", "exec", "-i", "-w", cwd, *options, work.plan.name, *argv])
    )
