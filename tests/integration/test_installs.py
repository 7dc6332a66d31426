"""Every package manager on a real project: installed once, offline when it can, never half."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.installing import CASES, NOTHING, TOOLCHAINS, Case, Installed, own_prefix

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
    prefix = own_prefix()
    projects = [Installed(top / name, case, prefix) for name in ("one", "two")]
    try:
        if os.getuid() == 0:
            for project in projects:
                project.give(1000)
        at_once = [
            project.start("run", f"toolchain:{case.kind}", "--", *words)
            for project, words in zip(projects, (case.works, case.there), strict=True)
        ]
        ends = [child.communicate(timeout=600) for child in at_once]
        said = [b"".join(streams).decode() for streams in ends]
        assert [child.returncode for child in at_once] == [0, 0], "\n".join(said)
        assert all(NOTHING in one for one in said)
        assert case.shows in said[0]
        projects[1].stop()
        yield projects[0]
    finally:
        for project in projects:
            project.stop()
        projects[0].remove()


def test_nothing_is_done_again(installed: Installed) -> None:
    """Neither the engine nor the package manager is asked; a touch changes nothing."""
    nowhere = {"DOCKER_HOST": "unix:///nowhere.sock", "AIFO_VERBOSE": "1"}
    os.utime(installed.path / installed.case.lockfile)
    done = installed.call("true", env=nowhere)
    assert (done.returncode, done.stderr) == (0, "")
    tasks = [f"install:{installed.kind}"]
    done = installed.doit("run", *tasks, env=nowhere)
    assert done.stderr == "".join(f"{task}: up to date\n" for task in tasks)


def test_what_is_cached_needs_no_network(installed: Installed) -> None:
    """After its overlays are gone; the project on the host stays as it was."""
    installed.forget()
    before = installed.source()
    installed.declare("network: none")
    assert (NOTHING in installed.works()) is not installed.shared
    assert installed.doit("run", "sidecar_stop").returncode == 0
    installed.declare()
    assert installed.source() == before
    assert "install" not in installed.installs()


def test_a_changed_lockfile_is_installed(installed: Installed) -> None:
    with installed.edited(installed.case.lockfile, lambda text: f"{text}\n"):
        said = installed.installs()
        assert "the lockfile, or what else decides the result, changed" in said
    installed.installs()


def test_wrong_hashes_fail_and_are_never_recorded(installed: Installed) -> None:
    with installed.edited(installed.case.lockfile, installed.case.spoilt):
        for _ in range(2):
            assert installed.case.wrong in installed.fails()
    assert NOTHING in installed.installs()


def test_a_lockfile_that_disagrees_names_the_command(installed: Installed) -> None:
    if installed.case.drifted is None:  # requirements.txt is its own manifest
        return
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
    installed.installs()


def test_an_install_killed_half_way_is_repaired(installed: Installed) -> None:
    installed.forget(caches=installed.shared)
    first = installed.start("run", f"install:{installed.kind}")
    assert first.stderr is not None
    for line in first.stderr:
        if NOTHING.encode() in line:
            break
    first.kill()
    first.communicate()
    assert NOTHING in installed.installs()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can call for two users")
def test_another_user_has_a_cache_of_its_own(installed: Installed) -> None:
    """Which is cold: without a network the install fails and is not recorded."""
    installed.give(1001)
    try:
        installed.declare("network: none")
        assert installed.case.unreachable in installed.fails()
        assert installed.doit("run", "sidecar_stop").returncode == 0
        installed.declare()
        assert NOTHING in installed.installs()
        (toolchain,) = (each for each in TOOLCHAINS if each.short == installed.kind)
        declared = [f"{installed.prefix}-{cache.volume}" for cache in toolchain.caches]
        assert {*declared, *(f"{name}-u1001" for name in declared)} == set(installed.caches())
    finally:
        installed.give(1000)
    installed.installs()


def test_warming_fetches_and_installs_nothing(installed: Installed) -> None:
    task = f"warm_cache:{installed.kind}"
    before = installed.source()
    done = installed.doit("run", task)
    assert done.returncode == 0, done.stderr
    assert "the store holds what the lockfile names" in done.stderr
    assert installed.doit("run", task).stderr == f"{task}: up to date\n"
    assert installed.source() == before


def test_two_lockfiles_are_refused_unless_the_file_decides(installed: Installed) -> None:
    if not installed.case.rival:  # nothing else locks what it locks
        return
    rival = installed.path / installed.case.rival
    shutil.copy(installed.path / installed.case.lockfile, rival)
    try:
        said = installed.fails()
        assert "has two lockfiles" in said
        assert rival.name in said
        installed.declare(f"managers: [{installed.case.name}]")
        assert installed.call("true").returncode == 0
    finally:
        rival.unlink()
        installed.declare()


def test_a_yarn_that_the_project_brings_along(engine_endpoint: str, tmp_path: Path) -> None:
    """Yarn 2 or later: its state too stays out of the project."""
    (case,) = (case for case in CASES if case.name == "yarn")
    project = Installed(tmp_path / "berry", case)
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
        assert NOTHING in project.works()
        project.forget()
        project.declare("network: none")
        assert NOTHING in project.works()
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
