"""What a sidecar mounts besides the project: volumes, and the directories they cover."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from aifo_tasks import __version__, cache, files, log, overlay
from aifo_tasks.engine.api import Engine, VolumeState
from aifo_tasks.install import stores
from aifo_tasks.session.workplace import Workplace
from aifo_tasks.sidecar.identity import project_session, user_label


def ensure_volumes(engine: Engine, work: Workplace) -> dict[str, str]:
    """Make the volumes of a plan and own them; the actual name of each declared one."""
    kind, uid = work.toolchain.kind, work.plan.owner.uid
    names = {
        declared.volume: cache.volume_for(engine, declared.volume, uid)
        for declared in work.toolchain.caches
    }
    specs = [cache.volume_spec(name, kind, uid) for name in names.values()]
    specs += [overlay.volume_spec(directory, work.place, __version__) for directory in work.covered]
    cache.ensure(engine, specs, work.owner, work.image)
    cache.mark_used(tuple(names.values()))
    return names | {directory.volume: directory.volume for directory in work.covered}


def mounted(work: Workplace, volumes: Mapping[str, str]) -> dict[str, str]:
    """Each volume's target in the sidecar, and its actual name."""
    targets = [(declared.target, declared.volume) for declared in work.toolchain.caches]
    return {target: volumes[name] for target, name in (*targets, *work.plan.covers)}


def overlay_states(engine: Engine, work: Workplace) -> dict[str, VolumeState]:
    """The overlays' volumes as the engine reports them."""
    found = {directory.volume: engine.volume(directory.volume) for directory in work.covered}
    return {name: state for name, state in found.items() if state is not None}


def make_mount_points(work: Workplace) -> None:
    """Make the host directories that mounts need, and remember those that were missing."""
    made = overlay.make_mount_points(work.plan.project, work.covered, work.owner)
    if work.install is not None and work.locked:  # else it is not yet certain who installs
        stores.make(work.plan.project, work.install.store, work.owner)
    if made and not log.is_dry_run():
        path = _path(project_session(work.plan.project))
        known = _recorded(path)[1]
        entry = {"project": str(work.plan.project), "made": sorted({*known, *made})}
        path.parent.mkdir(mode=0o700, exist_ok=True)
        files.write_quietly(path, json.dumps(entry).encode())


def remove_mount_points(engine: Engine, session: str) -> None:
    """Take away the empty directories that were made for mounts, once nothing is mounted: in
    any container they would be torn away."""
    path = _path(session)
    project, made = _recorded(path)
    if not made:
        return
    mine = {"io.aifo.user": user_label(), "io.aifo.project": str(project)}
    if any(state.running for state in engine.containers(mine)) and not log.is_dry_run():
        return
    overlay.remove_mount_points(project, made)
    if not log.is_dry_run():
        path.unlink(missing_ok=True)


def recorded() -> tuple[str, ...]:
    """Sessions for which directories were made."""
    return tuple(path.parent.name for path in files.run_dir().glob("*/mount-points.json"))


def _recorded(path: Path) -> tuple[Path, tuple[str, ...]]:
    try:
        entry = json.loads(path.read_bytes())
        return Path(entry["project"]), tuple(map(str, entry["made"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Path(), ()


def _path(session: str) -> Path:
    return files.run_dir() / session / "mount-points.json"
