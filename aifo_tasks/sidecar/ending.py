"""The end of sidecars: stopped when that is asked for, reaped when their owner was killed."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from aifo_tasks import files, log
from aifo_tasks.engine.api import ContainerState, Engine
from aifo_tasks.sidecar import network, record, sessions
from aifo_tasks.sidecar.identity import OWNER, user_label


def stoppable(engine: Engine) -> tuple[str, ...]:
    """Every session of this user on this machine that has sidecars, but for those that a
    process holds: it ends them itself."""
    found = set()
    for state in engine.containers({"io.aifo.user": user_label(), "io.aifo.kind": ""}):
        if _is_held(state):
            log.step(state.name, f"stays: process {state.labels[OWNER]} uses it")
        else:
            found.add(state.labels.get("io.aifo.session", ""))
    return tuple(sorted(found - {""}))


def stop(engine: Engine, session: str) -> tuple[str, ...]:
    """End the sidecars of a session; returns their names.

    Their run directories go with them, and the session's networks unless a proxy serves there.
    """
    names = []
    for state in engine.containers({"io.aifo.user": user_label(), "io.aifo.session": session}):
        engine.stop(state.name, seconds=2)
        engine.remove_container(state.name)
        _forget(state)
        names.append(state.name)
    with sessions.served(session) as is_served:
        if not is_served:
            network.remove(engine, session)
    return tuple(sorted(names))


def reap(engine: Engine) -> tuple[str, ...]:
    """Remove what killed processes left; returns the names of the containers among that.

    That is: containers of ours that ended and were not removed, everything of sessions whose
    owner is gone, and the run directories of sidecars that ended by themselves. Only this
    user's on this machine, started from this run directory, are touched.
    """
    mine = {"io.aifo.user": user_label(), "io.aifo.run-dir": str(files.run_dir())}
    gone = []
    for state in engine.containers({**mine, "io.aifo.kind": ""}):
        if state.status in {"exited", "dead"}:
            gone += _removed(engine, [state])
    for session in _owned(engine, mine):
        with sessions.orphaned(session) as is_orphan:
            if is_orphan:
                gone += _removed(engine, engine.containers({**mine, "io.aifo.session": session}))
                network.remove(engine, session)
                sessions.remove_directory(session)
    _sweep(engine, mine)
    return tuple(gone)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Held while a sidecar has its run directory and not yet its container."""
    with files.locked(_starting_lock(), shared=True):
        yield


def _owned(engine: Engine, mine: dict[str, str]) -> list[str]:
    """Sessions that have or had an owner."""
    found = {**mine, OWNER: ""}
    labels = [state.labels for state in engine.containers(found)]
    labels += [state.labels for state in engine.networks(found)]
    names = {each.get("io.aifo.session", "") for each in labels}
    return sorted(names | set(sessions.left()))


def _is_held(state: ContainerState) -> bool:
    """Whether somebody's session has this, as far as can be told from this run directory."""
    if OWNER not in state.labels:
        return False
    if state.labels.get("io.aifo.run-dir") != str(files.run_dir()):
        return True
    with sessions.orphaned(state.labels.get("io.aifo.session", "")) as is_orphan:
        return not is_orphan


def _removed(engine: Engine, states: Iterable[ContainerState]) -> list[str]:
    names = []
    for state in states:
        engine.remove_container(state.name)
        _forget(state)
        names.append(state.name)
    return names


def _forget(state: ContainerState) -> None:
    """Remove the records and the run directory of a sidecar of this run directory."""
    if state.labels.get("io.aifo.run-dir") != str(files.run_dir()):
        return
    session = state.labels.get("io.aifo.session", "")
    if session and not log.is_dry_run():
        record.forget(session, state.name)
    directory = files.run_dir() / state.name
    if directory.is_dir() and not directory.is_symlink():
        _remove(directory)


def _sweep(engine: Engine, mine: dict[str, str]) -> None:
    """Remove the directories of sidecars that are gone, and in others those of proxies."""
    if log.is_dry_run():
        return
    with files.claimed(_starting_lock()) as nobody_starts:
        if not nobody_starts:
            return
        running = {state.name for state in engine.containers(mine)}
        for directory in files.run_dir().glob("aifo-tc-*"):
            if directory.name not in running and not _answers(directory / "run" / "init.sock"):
                _remove(directory)
    for proxy in files.run_dir().glob("aifo-tc-*/proxies/*"):
        if not (files.run_dir() / proxy.name).exists():
            _remove(proxy)


def _answers(path: Path) -> bool:
    """True when somebody listens: a container of another engine may have this directory."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _remove(directory: Path) -> None:
    if log.command(f"rm -rf {shlex.quote(str(directory))}"):
        shutil.rmtree(directory, ignore_errors=True)


def _starting_lock() -> Path:
    return files.run_dir() / "starting.lock"
