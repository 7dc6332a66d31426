"""Every package manager on a real project: installed once, offline when it can, never half."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aifo_tasks import files
from aifo_tasks.config import load
from aifo_tasks.model import Toolchain
from tests.integration.project import Project, docker

NUMBERS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What differs between package managers.

    ``works`` runs the project's own tests, which print ``shows``. ``spoilt`` is the lockfile
    with a wrong hash, of which the manager says ``wrong``. ``settings`` is a file that keeps the
    manager from trying again and again, and its text. ``drifted`` is a manifest and its
    text that the lockfile does not agree with; ``mends`` is the command that the error names.
    """

    name: str
    example: str
    kind: str = "node"
    works: tuple[str, ...]
    shows: str
    lockfile: str
    settings: tuple[str, str] = ("", "")
    spoilt: Callable[[str], str]
    wrong: str
    drifted: tuple[str, str, str]
    mends: str
    unreachable: str


def other_hash(before: str) -> Callable[[str], str]:
    """Change the first characters of the hash that follows ``before``."""

    def spoilt(lock: str) -> str:
        start = lock.index(before) + len(before)
        return lock[:start] + "AAAA" + lock[start + 4 :]

    return spoilt


CASES = [
    Case(
        name="npm",
        example="npm-app",
        works=("npm", "test"),
        shows="# pass 3",
        lockfile="package-lock.json",
        settings=(".npmrc", "fetch-retries=0\n"),
        spoilt=other_hash('mri-1.2.0.tgz",\n      "integrity": "sha512-'),
        wrong="EINTEGRITY",
        drifted=("packages/cli/package.json", '"mri": "1.2.0"', '"mri": "1.1.6"'),
        mends="npm install --package-lock-only",
        unreachable="EAI_AGAIN",
    ),
    Case(
        name="yarn",
        example="yarn-app",
        works=("yarn", "test"),
        shows="# pass 6",
        lockfile="yarn.lock",
        spoilt=other_hash("  integrity sha512-"),
        wrong="ntegrity",
        drifted=("package.json", '"mri": "1.2.0"', '"mri": "1.1.6"'),
        mends="yarn install",
        unreachable="EAI_AGAIN",
    ),
]


class Installed(Project):
    """A copy of a case's example with cache volumes that only this test's copies share."""

    def __init__(self, path: Path, case: Case, prefix: str) -> None:
        super().__init__(path, case.example, case.kind)
        self.case = case
        self.prefix = prefix
        self.declare()
        name, text = case.settings
        if name:
            self.write(name, text)

    def declare(self, *lines: str) -> None:
        """Write toolchains.yaml: the case's manager, caches of our own, and these lines."""
        toolchain = shipped(self.kind)
        caches = [
            f"      - {{volume: {self.prefix}-{cache.volume}, target: {cache.target}}}"
            for cache in toolchain.caches
        ]
        text = ["extends: builtin", "toolchains:", f"  {toolchain.kind}:", "    caches:", *caches]
        self.write("toolchains.yaml", "\n".join([*text, *(f"    {line}" for line in lines), ""]))

    @contextlib.contextmanager
    def edited(self, relative: str, change: Callable[[str], str] = str) -> Iterator[None]:
        """Change a file, and back."""
        before = (self.path / relative).read_text()
        try:
            self.write(relative, change(before))
            yield
        finally:
            self.write(relative, before)

    def give(self, uid: int) -> None:
        """Make somebody the owner of every file: whom root's sidecars run as."""
        for path in (self.path, *self.path.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)

    def works(self) -> str:
        """Run the example's own tests; what doit said of it."""
        done = self.call(*self.case.works)
        assert done.returncode == 0, done.stdout + done.stderr
        assert self.case.shows in done.stdout + done.stderr
        return done.stderr

    def fails(self) -> str:
        """A call that must not be made; what doit said instead."""
        done = self.call("echo", "ran")
        assert (done.stdout, done.returncode) == ("", 1), done.stderr
        return done.stderr

    def remove(self) -> None:
        """Leave nothing of it in the engine."""
        self.stop()
        for volume in self.caches():
            docker("volume", "rm", volume)

    def caches(self) -> list[str]:
        """The cache volumes that only this test has."""
        return docker("volume", "ls", "--quiet", "--filter", f"name={self.prefix}").split()

    def forget(self) -> None:
        """Stop everything and take the overlays away."""
        assert self.doit("run", "sidecar_stop").returncode == 0
        for volume in self.volumes():
            docker("volume", "rm", volume)


def shipped(kind: str) -> Toolchain:
    found = load.load(files.resource("toolchains.yaml").parent).toolchain(kind)
    assert found is not None
    return found


BERRY = "4.9.2"


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def installed(
    engine_endpoint: str, case: Case, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """A project whose first install was made beside another one's, out of one empty cache."""
    top = tmp_path_factory.mktemp(case.name)
    prefix = f"aifo-test-{os.getpid()}-{next(NUMBERS)}"
    projects = [Installed(top / name, case, prefix) for name in ("one", "two")]
    try:
        at_once = [
            project.start("run", f"toolchain:{case.kind}", "--", *case.works)
            for project in projects
        ]
        ends = [child.communicate(timeout=600) for child in at_once]
        assert [child.returncode for child in at_once] == [0, 0], ends
        assert all(case.shows in (out + err).decode() for out, err in ends)
        projects[1].stop()
        yield projects[0]
    finally:
        for project in projects:
            project.remove()


def test_nothing_is_done_again(installed: Installed) -> None:
    """Neither the engine nor the package manager is asked; a touch changes nothing."""
    nowhere = {"DOCKER_HOST": "unix:///nowhere.sock", "AIFO_VERBOSE": "1"}
    os.utime(installed.path / installed.case.lockfile)
    done = installed.call("true", env=nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    tasks = [f"install:{installed.kind}"]
    done = installed.doit("run", *tasks, env=nowhere)
    assert done.stderr == "".join(f"{task}: up to date\n" for task in tasks)


def test_a_purged_overlay_is_filled_from_the_cache_alone(installed: Installed) -> None:
    """Without any network; the project on the host stays as it was."""
    installed.forget()
    before = installed.tree()
    installed.declare("network: none")
    assert "install" in installed.works()
    assert installed.doit("run", "sidecar_stop").returncode == 0
    installed.declare()
    assert installed.tree() == before
    assert "install" not in installed.works()


def test_a_changed_lockfile_is_installed(installed: Installed) -> None:
    with installed.edited(installed.case.lockfile, lambda text: f"{text}\n"):
        assert "the lockfile, or what else decides the result, changed" in installed.works()
    installed.works()


def test_a_wrong_hash_fails_and_is_never_recorded(installed: Installed) -> None:
    with installed.edited(installed.case.lockfile, installed.case.spoilt):
        for _ in range(2):
            assert installed.case.wrong in installed.fails()
    assert "the overlay holds no finished install" in installed.works()


def test_a_lockfile_that_disagrees_names_the_command(installed: Installed) -> None:
    manifest, old, new = installed.case.drifted
    mends = f"doit run toolchain:{installed.kind} -- {installed.case.mends}"
    with (
        installed.edited(manifest, lambda text: text.replace(old, new)),
        installed.edited(installed.case.lockfile),
    ):
        assert f"hint: {mends}" in installed.fails()
        mended = installed.doit(*mends.split()[1:])
        assert mended.returncode == 0, mended.stderr
        assert installed.call("true").returncode == 0
    installed.works()


def test_an_install_killed_half_way_is_repaired(installed: Installed) -> None:
    installed.forget()
    first = installed.start("run", f"install:{installed.kind}")
    assert first.stderr is not None
    for line in first.stderr:
        if b"holds no finished install" in line:
            break
    first.kill()
    first.communicate()
    assert "holds no finished install" in installed.works()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can call for two users")
def test_another_user_has_a_cache_of_its_own(installed: Installed) -> None:
    """Which is cold: without a network the install fails and is not recorded."""
    installed.give(1001)
    try:
        installed.declare("network: none")
        assert installed.case.unreachable in installed.fails()
        assert installed.doit("run", "sidecar_stop").returncode == 0
        installed.declare()
        assert "holds no finished install" in installed.works()
        declared = [f"{installed.prefix}-{c.volume}" for c in shipped(installed.kind).caches]
        assert {*declared, *(f"{name}-u1001" for name in declared)} == set(installed.caches())
    finally:
        installed.give(0)
    installed.works()


def test_warming_fetches_and_installs_nothing(installed: Installed) -> None:
    task = f"warm_cache:{installed.kind}"
    before = installed.tree()
    done = installed.doit("run", task)
    assert done.returncode == 0, done.stderr
    assert "the store holds what the lockfile names" in done.stderr
    assert installed.doit("run", task).stderr == f"{task}: up to date\n"
    assert installed.tree() == before


def test_two_lockfiles_are_refused_unless_the_file_decides(installed: Installed) -> None:
    others = {"npm": "yarn.lock", "yarn": "package-lock.json"}
    other = installed.path / others[installed.case.name]
    shutil.copy(installed.path / installed.case.lockfile, other)
    try:
        said = installed.fails()
        assert "has two lockfiles" in said
        assert other.name in said
        installed.declare(f"managers: [{installed.case.name}]")
        assert installed.call("true").returncode == 0
    finally:
        other.unlink()
        installed.declare()


def test_a_yarn_that_the_project_brings_along(engine_endpoint: str, tmp_path: Path) -> None:
    """Yarn 2 or later: its state too stays out of the project."""
    (case,) = (case for case in CASES if case.name == "yarn")
    project = Installed(tmp_path / "berry", case, f"aifo-test-{os.getpid()}-{next(NUMBERS)}")
    try:
        subprocess.run(
            ["npm", "install", "--prefix", tmp_path, f"@yarnpkg/cli-dist@{BERRY}"],
            check=True, capture_output=True,
        )  # fmt: skip
        program = tmp_path / "node_modules/@yarnpkg/cli-dist/bin/yarn.js"
        shutil.copy(program, project.path / "yarn.cjs")
        project.write(".yarnrc.yml", "nodeLinker: node-modules\nyarnPath: ./yarn.cjs\n")
        (project.path / "yarn.lock").unlink()
        locked = project.call("yarn", "install", "--mode=update-lockfile")
        assert locked.returncode == 0, locked.stderr
        project.forget()
        before = project.tree()
        assert "holds no finished install" in project.works()
        project.forget()
        project.declare("network: none")
        assert "holds no finished install" in project.works()
        warmed = project.doit("run", "warm_cache:node")
        assert warmed.returncode == 0, warmed.stderr
        project.declare()
        with project.edited("package.json", lambda text: text.replace("1.2.0", "1.1.6")):
            hint = "hint: doit run toolchain:node -- yarn install --mode=update-lockfile"
            assert hint in project.fails()
        assert project.doit("run", "sidecar_stop").returncode == 0
        assert project.tree() == before
    finally:
        project.remove()
