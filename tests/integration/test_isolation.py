"""What a sidecar can reach, what it may not, and that the host's tree stays as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.project import Project, docker, eventually


@pytest.fixture
def workspace(engine_endpoint: str, tmp_path: Path) -> Iterator[Project]:
    """A pnpm workspace with two members."""
    project = Project(tmp_path / "pnpm-workspace", "pnpm-workspace")
    yield project
    project.stop()


def test_the_host_tree_is_the_same_before_and_after(workspace: Project) -> None:
    before = workspace.tree()
    done = workspace.call("pnpm", "test")
    assert done.returncode == 0, done.stderr
    during = set(workspace.tree()) - set(before)
    assert during == {"node_modules", *(f"packages/{m}/node_modules" for m in ("cli", "text"))}
    assert workspace.doit("run", "sidecar_stop").returncode == 0
    assert workspace.tree() == before


def test_modules_on_the_host_are_neither_seen_nor_touched(workspace: Project) -> None:
    own = workspace.path / "node_modules" / "mine"
    own.mkdir(parents=True)
    (own / "index.js").write_text("throw new Error('the host's')\n")
    before = workspace.tree()
    done = workspace.call("sh", "-c", "test ! -e node_modules/mine && ls node_modules/.pnpm")
    assert done.returncode == 0, done.stderr
    assert workspace.doit("run", "sidecar_stop").returncode == 0
    assert workspace.tree() == before


def test_a_project_without_a_lockfile_gets_nothing(engine_endpoint: str, tmp_path: Path) -> None:
    project = Project(tmp_path / "bare")
    for name in ("package.json", "pnpm-lock.yaml", ".npmrc"):
        (project.path / name).unlink(missing_ok=True)
    before = project.tree()
    try:
        assert project.call("node", "--version").returncode == 0
        assert project.tree() == before
        assert not (project.path / ".pnpm-store").exists()
        assert not project.volumes()
    finally:
        project.stop()


@pytest.mark.parametrize("name", ["node_modules", ".pnpm-store"])
def test_a_link_to_somewhere_else_is_refused(fresh: Project, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (fresh.path / name).symlink_to(elsewhere)
    done = fresh.call("echo", "ran")
    assert (done.stdout, done.returncode) == ("", 1)
    assert name in done.stderr
    assert "link" in done.stderr
    assert not list(elsewhere.iterdir())
    assert not fresh.sidecars()


@pytest.mark.parametrize("kind", ["none", "tmpfs"])
def test_a_volume_that_is_a_bind_mount_is_refused(
    fresh: Project, tmp_path: Path, kind: str
) -> None:
    assert fresh.call("true").returncode == 0
    assert fresh.doit("run", "sidecar_stop").returncode == 0
    (volume,) = fresh.volumes()
    labels = docker(
        "volume", "inspect", "--format",
        "{{range $name, $value := .Labels}}--label\n{{$name}}={{$value}}\n{{end}}", volume,
    ).split("\n")  # fmt: skip
    host = tmp_path / "host"
    host.mkdir()
    docker("volume", "rm", volume)
    docker(
        "volume", "create", *filter(None, labels),
        "--opt", f"type={kind}", "--opt", "o=bind", "--opt", f"device={host}", volume,
    )  # fmt: skip
    done = fresh.call("echo", "ran")
    assert (done.stdout, done.returncode) == ("", 1)
    sentence = (
        "/workspace/node_modules must be a dedicated container volume or tmpfs, "
        "not a bind mount of the host's node_modules"
    )
    assert sentence in done.stderr
    assert not list(host.iterdir())
    assert not fresh.sidecars()  # the session ended


def test_the_sidecar_is_hardened(warm: Project) -> None:
    script = """
    grep -E '^(CapEff|NoNewPrivs)' /proc/self/status
    touch /usr/x /etc/x 2>/dev/null && echo written
    test -e /var/run/docker.sock && echo socket
    id -un
    touch /tmp/x "$HOME/x" && echo own
    """
    done = warm.call("sh", "-c", script)
    assert done.stdout.split("\n") == [
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        warm.call("id", "-un").stdout.strip(),
        "own",
        "",
    ]
    state = docker(
        "inspect", "--format",
        "{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.Privileged}}",
        warm.sidecars()[0],
    )  # fmt: skip
    assert state == f"4096 {4 << 30} false\n"


@pytest.mark.parametrize("network", ["none", "internal", "isolated", "install-only"])
def test_the_network_is_what_was_asked_for(fresh: Project, network: str) -> None:
    """Seen from inside: whether there is a way out. The install works where one is given."""
    text = f"extends: builtin\ntoolchains:\n  node:\n    network: {network}\n"
    fresh.write("toolchains.yaml", text)
    if network in {"none", "internal"}:
        (fresh.path / "pnpm-lock.yaml").unlink()  # nothing could be fetched
    script = (
        "require('http').get('http://deb.debian.org/', r => { console.log('out'); r.resume() })"
    )
    done = fresh.call("node", "-e", f"{script}.on('error', () => console.log('no way'))")
    assert done.stdout == ("out\n" if network == "isolated" else "no way\n"), done.stderr
    if network == "install-only":
        assert "install node:" in done.stderr
        assert len(fresh.sidecars()) == 1
    names = docker("network", "ls", "--format", "{{.Name}}").split()
    session = fresh.sidecars()[0].rsplit("-", 1)[-1]
    assert (f"aifo-net-{session}" in names) == (network in {"internal", "isolated"})
    assert fresh.doit("run", "sidecar_stop").returncode == 0
    assert f"aifo-net-{session}" not in docker("network", "ls", "--format", "{{.Name}}").split()


def test_a_network_that_is_another_is_refused(fresh: Project) -> None:
    """Never quietly weakened: an internal one was asked for, one with a way out is there."""
    fresh.write(
        "toolchains.yaml", "extends: builtin\ntoolchains:\n  node:\n    network: internal\n"
    )
    name = f"aifo-test-{os.getpid()}"
    docker("network", "create", name)
    try:
        done = fresh.doit(
            "run", "toolchain:node", "--", "echo", "ran", env={"AIFO_SESSION_NETWORK": name}
        )
        assert (done.stdout, done.returncode) == ("", 1)
        assert "has a way out, and internal was asked for" in done.stderr
    finally:
        docker("network", "rm", name)


def test_another_user_of_the_project_owns_its_files(fresh: Project) -> None:
    """Root works for the project's owner: files, caches and overlay are theirs."""
    if os.getuid() != 0:
        pytest.fail("this test gives a project to another user: run it as root")
    for path in [fresh.path, *fresh.path.rglob("*")]:
        shutil.chown(path, 4321, 4321)
    done = fresh.call("sh", "-c", "id -u; id -un; touch new; touch $XDG_CACHE_HOME/new && echo own")
    assert done.stdout == "4321\ncoder\nown\n", done.stderr
    assert (fresh.path / "new").stat().st_uid == 4321
    assert (fresh.path / ".pnpm-store").stat().st_uid == 4321
    mine = docker("volume", "ls", "--quiet", "--filter", "label=io.aifo.uid=4321").split()
    assert "aifo-node-cache-u4321" in mine or "aifo-node-cache" in mine
    fresh.stop()
    docker("volume", "rm", *(volume for volume in mine if "modules" not in volume))


def test_what_a_killed_owner_left_is_reaped(bare: Project) -> None:
    """A container of ours that ended and was not removed goes with the next slow run."""
    assert bare.call("true").returncode == 0
    name = bare.sidecars()[0]
    labels = docker(
        "inspect", "--format",
        "{{range $n, $v := .Config.Labels}}--label\n{{$n}}={{$v}}\n{{end}}", name,
    ).split("\n")  # fmt: skip
    left = f"aifo-test-left-{os.getpid()}"
    image = docker("inspect", "--format", "{{.Config.Image}}", name).strip()
    docker("run", "--name", left, *filter(None, labels), "--entrypoint", "true", image)
    strangers = f"aifo-test-other-{os.getpid()}"
    theirs = ["io.aifo.user=4@other" if "io.aifo.user=" in word else word for word in labels]
    docker("run", "--name", strangers, *filter(None, theirs), "--entrypoint", "true", image)
    try:
        docker("rm", "--force", name)
        assert bare.call("true").returncode == 0
        names = docker("ps", "--all", "--format", "{{.Names}}").split()
        assert left not in names
        assert strangers in names
    finally:
        docker("rm", "--force", left, strangers, check=False)


def test_a_third_spec_retires_the_oldest(fresh: Project) -> None:
    """Two specs stay warm; the oldest ends with its last call, never before."""
    (fresh.path / "pnpm-lock.yaml").unlink()
    running: list[subprocess.Popen[bytes]] = []
    for memory in ("1g", "2g", "3g"):
        text = f"extends: builtin\ntoolchains:\n  node:\n    limits:\n      memory: {memory}\n"
        fresh.write("toolchains.yaml", text)
        assert fresh.call("true").returncode == 0
        if memory == "1g":
            running.append(
                fresh.start(
                    "run",
                    "toolchain:node",
                    "--",
                    "sh",
                    "-c",
                    "echo on; read line; echo $line",
                    stdin=subprocess.PIPE,
                )
            )
            assert running[0].stdout is not None
            assert running[0].stdout.readline() == b"on\n"
    assert len(fresh.sidecars()) == 3
    first = text.replace("3g", "1g")
    fresh.write("toolchains.yaml", first)
    assert fresh.call("true").returncode == 0  # beside the one that leaves
    assert running[0].poll() is None
    stdout, _ = running[0].communicate(b"still here\n", timeout=60)
    assert (stdout, running[0].returncode) == (b"still here\n", 0)
    eventually(lambda: len(fresh.sidecars()) == 2)
    assert fresh.call("true").stderr == ""
