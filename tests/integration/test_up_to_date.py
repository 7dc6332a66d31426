"""What changed is done again, what did not is left alone, what failed is not recorded."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.integration.installing import NOTHING, Case, Installed
from tests.integration.project import Project, docker, eventually

INSTALLING = "install node: "
PNPM = Case(
    name="pnpm",
    example="pnpm-app",
    works=("pnpm", "test"),
    shows="# pass 7",
    there=("node", "-e", "require('kleur')"),
    lockfile="pnpm-lock.yaml",
    spoilt=str,
    wrong="",
    unreachable="",
)


def test_a_changed_byte_installs_a_touch_does_not(fresh: Project) -> None:
    first = fresh.call("true")
    assert (first.returncode, first.stdout) == (0, "")
    assert f"{INSTALLING}the overlay holds no finished install" in first.stderr
    os.utime(fresh.path / "pnpm-lock.yaml")
    assert fresh.call("true").stderr == ""
    with (fresh.path / "pnpm-lock.yaml").open("a") as lock:
        lock.write("\n")
    changed = fresh.call("true")
    assert changed.returncode == 0
    assert f"{INSTALLING}the lockfile, or what else decides the result, changed" in changed.stderr
    assert fresh.call("true").stderr == ""


def test_tasks_say_up_to_date_or_why_not(fresh: Project) -> None:
    first = fresh.doit("run", "install:node")
    assert first.returncode == 0, first.stderr
    assert "install:node: running: no sidecar runs that has what the files ask for" in first.stderr
    second = fresh.doit("run", "build_image:node", "install:node")
    assert second.stderr == "build_image:node: up to date\ninstall:node: up to date\n"


def test_a_removed_image_is_built_again(fresh: Project) -> None:
    """build_image notices always, toolchain when no sidecar runs; layers come from the cache."""
    fresh.write("toolchains.yaml", _renamed_image("aifo-test-removed"))
    try:
        assert fresh.doit("run", "build_image:node").returncode == 0
        docker("rmi", "aifo-test-removed:latest")
        again = fresh.doit("run", "build_image:node")
        assert "build_image:node: running: the engine does not have it" in again.stderr
        assert again.returncode == 0, again.stderr
        docker("rmi", "aifo-test-removed:latest")
        called = fresh.call("true")
        assert called.returncode == 0, called.stderr
        assert "the engine does not have it" in called.stderr
    finally:
        fresh.stop()
        docker("rmi", "aifo-test-removed:latest", check=False)


def test_a_removed_volume_is_filled_again(fresh: Project) -> None:
    assert fresh.call("true").returncode == 0
    assert fresh.doit("run", "sidecar_stop").returncode == 0
    for volume in fresh.volumes():
        docker("volume", "rm", volume)
    again = fresh.call("node", "-e", "require('kleur'); console.log('there')")
    assert again.stdout == "there\n"
    assert f"{INSTALLING}the overlay holds no finished install" in again.stderr


def test_the_version_in_the_file_is_followed(fresh: Project) -> None:
    """Image, sidecar and overlay; a test that runs in the older sidecar is not ended."""
    fresh.write("toolchains.yaml", _renamed_image("aifo-test-version"))
    try:
        old = fresh.call("node", "--version")
        assert old.returncode == 0, old.stderr
        running = fresh.start(
            "run", "toolchain:node", "--", "sh", "-c", "echo on; read line; echo $line; node -v",
            stdin=-1,
        )  # fmt: skip
        assert running.stdout is not None
        assert running.stdout.readline() == b"on\n"
        text = _renamed_image("aifo-test-version")
        fresh.write("toolchains.yaml", text + '      version: "22.12.0"\n')
        new = fresh.call("node", "-e", "require('kleur'); console.log(process.version)")
        assert new.stdout == "v22.12.0\n", new.stderr
        assert len(fresh.sidecars()) == 2
        stdout, _ = running.communicate(b"still here\n", timeout=60)
        assert (stdout.decode(), running.returncode) == (f"still here\n{old.stdout}", 0)
        assert len(fresh.volumes()) == 2
        fresh.write("toolchains.yaml", text)
        back = fresh.call("node", "--version")
        assert (back.stdout, back.stderr) == (old.stdout, "")  # both are kept warm
    finally:
        fresh.stop()
        docker("rmi", "aifo-test-version:latest", "aifo-test-version:22.12.0", check=False)


def test_a_wrong_checksum_fails_and_is_never_recorded(fresh: Project) -> None:
    lock = fresh.path / "pnpm-lock.yaml"
    good = lock.read_text()
    package = good.index("  kleur@4.1.5:\n    resolution:")
    start = good.index("sha512-", package) + len("sha512-")
    lock.write_text(good[:start] + "AAAA" + good[start + 4 :])
    with (fresh.path / ".npmrc").open("a") as rc:
        rc.write("fetch-retry-mintimeout=1000\nfetch-retry-maxtimeout=4000\n")  # not a minute
    for _ in range(2):
        done = fresh.call("echo", "ran")
        assert (done.stdout, done.returncode) == ("", 1)
        assert "failed with exit status" in done.stderr
        assert "ERR_PNPM_TARBALL_INTEGRITY" in done.stderr
    lock.write_text(good)
    assert fresh.call("echo", "ran").stdout == "ran\n"


def test_a_registry_that_is_cut_off(fresh: Project) -> None:
    """Says so, is not recorded, and the next run installs."""
    rc = fresh.path / ".npmrc"
    before = rc.read_text() if rc.exists() else ""
    rc.write_text(before + "registry=http://127.0.0.1:9/\nfetch-retries=0\n")
    done = fresh.call("echo", "ran")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "127.0.0.1:9" in done.stderr
    rc.write_text(before)
    assert fresh.call("echo", "ran").stdout == "ran\n"


def test_an_install_killed_half_way_is_repaired(fresh: Project) -> None:
    first = fresh.start("run", "install:node")
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith(INSTALLING.encode()):
            break
    eventually(lambda: any("pnpm" in row for row in fresh.processes()), seconds=60)
    first.kill()
    first.communicate()
    second = fresh.call("node", "-e", "require('kleur'); console.log('there')")
    assert second.stdout == "there\n", second.stderr
    assert INSTALLING in second.stderr


def test_a_full_disk_is_said_and_repaired(fresh: Project) -> None:
    """The overlay is a small tmpfs volume: allowed, and too small."""
    assert fresh.call("true").returncode == 0
    assert fresh.doit("run", "sidecar_stop").returncode == 0
    (volume,) = fresh.volumes()
    labels = docker(
        "volume", "inspect", "--format",
        "{{range $name, $value := .Labels}}--label\n{{$name}}={{$value}}\n{{end}}", volume,
    ).split("\n")  # fmt: skip
    docker("volume", "rm", volume)
    docker(
        "volume", "create", *filter(None, labels),
        "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m,mode=0777", volume,
    )  # fmt: skip
    done = fresh.call("echo", "ran")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "ENOSPC" in done.stderr or "no space left" in done.stderr
    assert fresh.doit("run", "sidecar_stop").returncode == 0
    docker("volume", "rm", volume)
    assert fresh.call("echo", "ran").stdout == "ran\n"


def test_two_at_once_install_once(fresh: Project) -> None:
    children = [fresh.start("run", "toolchain:node", "--", "echo", "ran") for _ in range(2)]
    ends = [child.communicate(timeout=300) for child in children]
    assert [child.returncode for child in children] == [0, 0], ends
    assert [stdout for stdout, _ in ends] == [b"ran\n", b"ran\n"]
    assert sum(stderr.count(INSTALLING.encode() + b"the overlay") for _, stderr in ends) == 1
    assert len(fresh.sidecars()) == 1


def test_two_projects_have_their_own(fresh: Project, warm: Project, tmp_path: Path) -> None:
    assert fresh.call("true").returncode == 0
    assert set(fresh.volumes()).isdisjoint(warm.volumes())
    assert set(fresh.sidecars()).isdisjoint(warm.sidecars())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can call for two users")
def test_two_users_in_turn_have_volumes_of_their_own(engine_endpoint: str, tmp_path: Path) -> None:
    """Who comes back finds his own as he left it."""
    project = Installed(tmp_path / "pnpm-app", PNPM)
    owned = '{{.Name}} {{index .Labels "io.aifo.uid"}}'
    try:
        for uid in (1000, 1001):
            project.give(uid)
            assert NOTHING in project.installs()
        project.give(1000)
        assert project.installs() == ""
        overlays = docker("volume", "inspect", "--format", owned, *project.volumes())
        assert sorted(line.split()[-1] for line in overlays.splitlines()) == ["1000", "1001"]
        cache = f"{project.prefix}-aifo-node-cache"
        caches = docker("volume", "inspect", "--format", owned, *project.caches())
        assert sorted(caches.splitlines()) == [f"{cache} 1000", f"{cache}-u1001 1001"]
    finally:
        project.remove()


def test_a_warm_store_needs_no_network(fresh: Project) -> None:
    """After warm_cache an install works where there is no way out."""
    warmed = fresh.doit("run", "warm_cache:node")
    assert warmed.returncode == 0, warmed.stderr
    assert fresh.doit("run", "warm_cache:node").stderr == "warm_cache:node: up to date\n"
    fresh.doit("run", "sidecar_stop")
    with (fresh.path / ".npmrc").open("a") as rc:
        rc.write("registry=http://127.0.0.1:9/\n")
    done = fresh.call("node", "-e", "require('kleur'); console.log('there')")
    assert done.stdout == "there\n", done.stderr


def test_an_idle_sidecar_ends_by_itself(bare: Project) -> None:
    text = (bare.path / "toolchains.yaml").read_text()
    assert text.strip() == "extends: builtin"
    limits = "toolchains:\n  node:\n    limits:\n      idle-seconds: 2\n"
    bare.write("toolchains.yaml", f"{text}{limits}")
    assert bare.call("true").returncode == 0
    words = ("run", "toolchain:node", "--", "sh", "-c", "echo on; exec sleep 1234")
    running = bare.start(*words)
    assert running.stdout is not None
    assert running.stdout.readline() == b"on\n"
    time.sleep(3)
    assert running.poll() is None
    assert len(bare.sidecars()) == 1  # idle time does not pass while a call runs
    running.terminate()
    running.communicate(timeout=60)
    eventually(lambda: not bare.sidecars())
    assert bare.call("echo", "ran").stdout == "ran\n"


def _renamed_image(name: str) -> str:
    return f"extends: builtin\ntoolchains:\n  node:\n    image:\n      name: {name}\n"


@pytest.mark.parametrize("word", ["PUHS=1", "NO_CACH=1"])
def test_an_unknown_variable_is_refused(warm: Project, word: str) -> None:
    done = warm.doit("run", "build_image:node", word)
    assert done.returncode == 3
    assert "no such variable" in done.stderr
