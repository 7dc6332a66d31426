"""A sidecar's life: find it running, or start it beside or instead of others."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from aifo_tasks import files, log, native
from aifo_tasks.engine.api import ContainerState, Engine
from aifo_tasks.errors import AifoError, EngineError
from aifo_tasks.sidecar import ending, network, record
from aifo_tasks.sidecar.identity import Owner, user_label
from aifo_tasks.sidecar.plan import Host, Plan, confined, container_spec, passwd
from aifo_tasks.sidecar.record import Greeted, Record
from aifo_tasks.toolexec import launcher, passing
from aifo_tasks.toolexec.launcher import UnreachableError

START_SECONDS = 15.0
"""How long init may take from the container's start to its first answer."""

RELAY_SECONDS = 2.0
"""After which of them it is asked through a relay as well."""

KEPT_WARM = 2
"""How many specs of one kind stay warm in a session: two terminals with two versions."""


def ensure(engine: Engine, plan: Plan, volumes: Mapping[str, str]) -> Greeted | None:
    """The sidecar of this plan, running and greeted; started when there is none.

    None in a dry run. Raises EngineError when the engine refuses, and
    AifoError when init does not answer; nothing is left running then.
    """
    running = _of_kind(engine, plan)
    for state in running:
        if state.labels.get("io.aifo.spec") == plan.digest():
            if log.is_dry_run():
                return None  # it runs already: only the call is left to print
            found = _greeted(engine, plan, state)
            if found is not None:
                return found
            running = _of_kind(engine, plan)  # that one was ended, or leaves by itself
    others = [state for state in running if state.labels.get("io.aifo.spec") != plan.digest()]
    name = _free_name(plan, running)
    _make_room(engine, plan, others)
    return _start(engine, plan, name, volumes)


def _of_kind(engine: Engine, plan: Plan) -> list[ContainerState]:
    found = engine.containers(
        {
            "io.aifo.user": user_label(),
            "io.aifo.session": plan.session,
            "io.aifo.kind": plan.toolchain.kind,
        }
    )
    return [state for state in found if state.running]


def _greeted(engine: Engine, plan: Plan, state: ContainerState) -> Greeted | None:
    """Greet a running sidecar of this plan, its record made anew from the engine's word."""
    details = engine.container(state.name)
    if details is None or not details.running:
        return None
    host = _host(plan, details.name)
    try:
        found = _met(engine, plan, host, details, patient=False)
    except UnreachableError as error:
        if not host.socket.exists():  # it takes no new call and leaves with its last one
            return None
        if error.reason == "busy":
            raise
        log.warn(details.name, f"{error.problem}; it is ended and started again")
        engine.remove_container(details.name)
        return None
    _write(plan, found)
    return found


def _free_name(plan: Plan, running: list[ContainerState]) -> str:
    taken = {state.name for state in running}
    for name in (plan.name, f"{plan.name}-{plan.digest()[:8]}"):
        if name not in taken:
            return name
    return f"{plan.name}-{secrets.token_hex(4)}"  # beside one of the same spec that leaves


def _make_room(engine: Engine, plan: Plan, others: list[ContainerState]) -> None:
    """Retire the longest unused of the other specs, when there are too many."""
    paths = [
        (record.path_of(plan.session, plan.toolchain.kind, state.labels["io.aifo.spec"]), state)
        for state in others
    ]
    paths.sort(key=lambda pair: _last_use(pair[0]))
    for path, state in paths[: max(0, len(paths) - KEPT_WARM + 1)]:
        entry = record.read(path)
        log.step(state.name, f"is retired: {KEPT_WARM} specs of {plan.toolchain.kind} stay warm")
        if entry is None:
            engine.stop(state.name, seconds=2)
        elif log.command(f"kill -HUP {entry.pid}"):
            launcher.retire(entry.peer)


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _start(engine: Engine, plan: Plan, name: str, volumes: Mapping[str, str]) -> Greeted | None:
    with contextlib.ExitStack() as stack:
        if not log.is_dry_run():
            stack.enter_context(ending.starting())
        return _started(engine, plan, name, volumes)


def _started(engine: Engine, plan: Plan, name: str, volumes: Mapping[str, str]) -> Greeted | None:
    host = _prepared(plan, name)
    info = engine.info()
    network.ensure(engine, plan)
    spec = container_spec(plan, host, name=name, volumes=volumes)
    ended = engine.container(name)
    if ended is not None and not ended.running:  # it keeps the name until it is removed
        engine.remove_container(name)
    state = engine.start(confined(spec, info, apparmor=apparmor_profile()))
    if log.is_dry_run():
        return None
    try:
        return _first_greeting(engine, plan, host, state)
    except BaseException:
        engine.remove_container(name)
        raise


def _first_greeting(engine: Engine, plan: Plan, host: Host, state: ContainerState) -> Greeted:
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        try:
            found = _met(engine, plan, host, state, patient=waited < RELAY_SECONDS)
        except UnreachableError as error:
            now = engine.container(state.name)
            if now is None or not now.running:
                raise EngineError(
                    state.name, "ended before it answered", hint="doit engine"
                ) from error
            if waited > START_SECONDS:
                raise AifoError(
                    state.name, f"does not answer at {host.socket}: {error.problem}"
                ) from error
            time.sleep(0.005)
        else:
            _write(plan, found)
            return found


def _met(
    engine: Engine, plan: Plan, host: Host, state: ContainerState, *, patient: bool
) -> Greeted:
    """Greet init at its socket; UnreachableError.

    Unless ``patient``, a relay is asked when nobody answers there: if init answers it and still
    not here, it is in another kernel.
    """
    entry = _entry(engine, plan, host, state)
    try:
        return _tested(entry)
    except UnreachableError as error:
        if patient or error.reason != "absent":
            raise
    found = record.greet(replace(entry, pid=0, passes=False))
    with contextlib.suppress(UnreachableError):
        seen = _tested(entry)
        found.connection.close()
        return seen
    _say_relayed(found.record)
    return found


def _tested(entry: Record) -> Greeted:
    """Greet init here, and see whether descriptors pass; over a relay if not."""
    started = replace(entry, start_time=launcher.start_time(entry.pid))
    found = record.greet(started, started.peer)
    passes = passing.works(found.connection)
    if passes and not started.is_relayed:
        return found
    found.connection.close()
    found = record.greet(replace(started, passes=passes))
    if not passes:
        _say_relayed(found.record)
    return found


def _say_relayed(entry: Record) -> None:
    log.warn(entry.name, "descriptors do not reach it: its calls go through a relay, and slower")


def _entry(engine: Engine, plan: Plan, host: Host, state: ContainerState) -> Record:
    """A record from the engine's word, not yet tried."""
    info = engine.info()
    return Record(
        name=state.name,
        spec=plan.digest(),
        socket=host.socket,
        pid=state.pid,
        start_time=0,
        engine=info.name,
        endpoint=info.endpoint,
        door=f"{plan.socket_dir}/init.sock",
        passes=True,
    )


def _write(plan: Plan, found: Greeted) -> None:
    path = record.path_of(plan.session, plan.toolchain.kind, plan.digest())
    record.write(path, found.record)


def _host(plan: Plan, name: str) -> Host:
    return Host(directory=files.run_dir() / name, programs=native.programs(plan.shims))


def _prepared(plan: Plan, name: str) -> Host:
    """Make the files a sidecar mounts; what an earlier one of that name left is replaced."""
    host = _host(plan, name)
    if host.directory.exists() and log.command(f"rm -rf {shlex.quote(str(host.directory))}"):
        shutil.rmtree(host.directory)
    files.make_directory(host.directory, mode=0o711)
    files.make_directory(host.socket_dir, mode=0o700)
    files.make_directory(host.proxies, mode=0o755)
    users, groups = passwd(plan.owner)
    files.write_atomically(host.passwd, users, mode=0o644)
    files.write_atomically(host.group, groups, mode=0o644)
    _give(host.socket_dir, plan.owner)
    return host


def _give(path: Path, owner: Owner) -> None:
    if owner.uid == os.getuid() and owner.gid == os.getgid():
        return
    if log.command(f"chown {owner.text} {shlex.quote(str(path))}"):
        os.chown(path, owner.uid, owner.gid)


def apparmor_profile() -> str:
    """The profile AIFO_CODER_APPARMOR_PROFILE names, else aifo-coder where the host has it, else
    "", which leaves the engine's own."""
    named = os.environ.get("AIFO_CODER_APPARMOR_PROFILE", "")
    if named:
        return named
    try:
        loaded = Path("/sys/kernel/security/apparmor/profiles").read_text(encoding="utf-8")
    except OSError:  # only root may read the list
        return ""
    return "aifo-coder" if "\naifo-coder (" in f"\n{loaded}" else ""
