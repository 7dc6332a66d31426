"""pip: requirements.txt, a directory of wheels beside its cache, a virtual environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.install import python, stores, workspaces
from aifo_tasks.install.api import Commands, Plan, Runner, Store
from aifo_tasks.model import HOME, WORKSPACE

NAME = "pip"
DIRECTORY = python.DIRECTORY
ENVIRONMENT: tuple[tuple[str, str], ...] = (
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("PIP_NO_INPUT", "1"),
    ("PIP_PROGRESS_BAR", "off"),
)

_LOCKFILE = "requirements.txt"
_SETTINGS = "pip.conf"
_BUILD = ("pyproject.toml", "setup.py", "setup.cfg")
_FURTHER = re.compile(
    rb"^[ \t]*(?:-r|-c|--requirement|--constraint)(?:[ \t]*=?[ \t]*)([^\s#]+)", re.MULTILINE
)


def uses(project: Path) -> bool:
    """Never: what says that a project is one of Python says nothing of pip."""
    return False


def members(project: Path) -> tuple[str, ...]:
    """There are none."""
    return ()


def inputs(project: Path) -> tuple[tuple[str, bytes | None], ...]:
    """requirements.txt and the files it names, pip.conf, and how the project itself is built."""
    found = dict(_requirements(project, _LOCKFILE, {}))
    return (*found.items(), *workspaces.content(project, (_SETTINGS, *_BUILD)))


def changes_modules(argv: Sequence[str]) -> bool:
    """True for a call that itself makes the environment."""
    return python.changes_modules(argv)


def store(project: Path, declared: Mapping[str, str], environ: Mapping[str, str]) -> Store:
    """Wheels beside pip's cache, which alone never serves an install without a network.

    A pip.conf in the project is pip's configuration.
    """
    target = declared.get("PIP_CACHE_DIR", f"{HOME}/.cache/pip") + "/aifo-wheels"
    if files.read_below(project, _SETTINGS) is None:
        return Store(target=target)
    environment = (("PIP_CONFIG_FILE", f"{WORKSPACE}/{_SETTINGS}"),)
    return Store(target=target, environment=environment)


def install(plan: Plan, *, offline: bool) -> Commands:
    """A new environment, and into it what the file says; checked by hash where one stands."""
    pip = (f"{plan.targets[0]}/bin/python", "-m", "pip")
    what = _what(plan)
    made = _outside(plan, "-m", "venv", "--clear", plan.targets[0])
    if offline:
        return (made, (*pip, "install", "--no-index", *what))
    return (made, *_download(plan, pip), (*pip, "install", *what))


def fetch(plan: Plan) -> Commands:
    """Fill the directory of wheels."""
    return _download(plan, _outside(plan, "-m", "pip"))


def verify(run: Runner, plan: Plan) -> str:
    """The environment is one."""
    return python.verify(run, plan)


def explain(output: str, plan: Plan) -> str:
    """How to make the cache writable again."""
    return stores.mend(plan.store) if stores.refused(output, plan.store) else ""


def _outside(plan: Plan, *words: str) -> tuple[str, ...]:
    """A call of the python that is not the environment's, whose directory comes first on PATH."""
    script = 'PATH=${PATH#"$1/bin:"}; shift; exec python3 "$@"'
    return ("sh", "-c", script, "sh", plan.targets[0], *words)


def _what(plan: Plan) -> tuple[str, ...]:
    lock = files.read_below(plan.project, _LOCKFILE) or b""
    hashes = ("--require-hashes",) if b"--hash=" in lock else ()
    return ("--find-links", plan.store.target, *hashes, "--requirement", _LOCKFILE)


def _download(plan: Plan, pip: tuple[str, ...]) -> Commands:
    """One at a time: pip moves what it fetched into a directory that others read."""
    wheels = plan.store.target
    alone = ("flock", f"{wheels}/.aifo-alone")
    return (
        ("mkdir", "-p", wheels),
        (*alone, *pip, "download", "--dest", wheels, *_what(plan)),
    )


def _requirements(
    project: Path, name: str, seen: dict[str, bytes | None]
) -> Iterator[tuple[str, bytes | None]]:
    """A requirements file and those it names, each once; what lies outside is passed over."""
    name = os.path.normpath(name)
    if name in seen or name.startswith(("..", "/")):
        return
    seen[name] = content = files.read_below(project, name)
    yield name, content
    for further in _FURTHER.findall(content or b""):
        path = os.path.join(os.path.dirname(name), further.decode("utf-8", "replace"))
        yield from _requirements(project, path, seen)
