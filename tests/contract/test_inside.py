"""What a container's spec means for the program inside; engines that run programs only."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aifo_tasks.engine.api import (
    BuildSpec,
    ContainerSpec,
    ImportSpec,
    MountSpec,
    NetworkSpec,
    VolumeSpec,
)
from tests.contract.conftest import Scratch


def told(real: Scratch, *words: str, **options: object) -> str:
    """What the probe writes when it succeeds."""
    done = real.engine.run(real.container(*words, **options))
    assert done.status == 0, done.output
    return done.output.decode().rstrip("\n")


def process_status(real: Scratch, **options: object) -> dict[str, str]:
    lines = told(real, "cat", "/proc/self/status", **options).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_rights_are_what_is_asked_for(real: Scratch) -> None:
    hardened = process_status(
        real, user="1000:7", cap_drop=("ALL",), security_opt=("no-new-privileges",)
    )
    assert hardened["CapBnd"] == hardened["CapEff"] == "0000000000000000"
    assert hardened["NoNewPrivs"] == "1"
    assert hardened["Uid"].split() == ["1000"] * 4
    assert hardened["Gid"].split() == ["7"] * 4
    assert hardened["Seccomp"] == "2"
    one = process_status(real, cap_drop=("ALL",), cap_add=("CHOWN",))
    assert one["CapBnd"] == "0000000000000001"
    assert int(process_status(real)["CapBnd"], 16) > 1


def test_environment_is_the_declared_one(real: Scratch) -> None:
    environment = (("NAME", "a b=c é"), ("EMPTY", ""))
    lines = told(real, "environment", environment=environment, hostname="somewhere").splitlines()
    assert {"NAME=a b=c é", "EMPTY=", "HOSTNAME=somewhere"} <= set(lines)


def test_a_working_directory(real: Scratch) -> None:
    assert told(real, "where", working_dir="/kept-here") == "/kept-here"


def test_a_read_only_root_has_only_the_declared_places(real: Scratch) -> None:
    tmpfs = MountSpec(kind="tmpfs", target="/scratch", options="exec,size=64k,mode=1777")

    def put(path: str, text: str = "x") -> tuple[int, bytes]:
        spec = real.container("put", path, text, read_only=True, mounts=(tmpfs,))
        done = real.engine.run(spec)
        return done.status, done.output.partition(b"\n")[0]

    assert put("/scratch/file") == (0, b"")
    elsewhere = () if real.differs("read-only places") else ("/tmp/file", "/run/file")
    for place in ("/file", "/kept-here/file", "/etc/file", *elsewhere):
        status, reason = put(place)
        assert status == 1
        assert reason in (b"Read-only file system", b"No such file or directory")


def test_a_tmpfs_belongs_to_its_user_and_runs_programs(real: Scratch) -> None:
    options = "exec,size=64k,mode=0700,uid=1000,gid=7"
    mount = MountSpec(kind="tmpfs", target="/private", options=options)
    assert told(real, "status", "/private", user="1000:7", mounts=(mount,)) == "1000 7 700"
    mounts = told(real, "cat", "/proc/self/mountinfo", user="1000:7", mounts=(mount,))
    line = next(one for one in mounts.splitlines() if one.split()[4] == "/private")
    assert "noexec" not in line
    assert "size=64k" in line


def test_a_tmpfs_for_somebody_else(real: Scratch) -> None:
    mount = MountSpec(kind="tmpfs", target="/private", options="mode=0700,uid=1000,gid=7")
    owner = "0 0" if real.differs("tmpfs owner") else "1000 7"
    assert told(real, "status", "/private", mounts=(mount,)) == f"{owner} 700"


def test_a_tmpfs_hides_what_the_image_has_there(real: Scratch) -> None:
    mount = MountSpec(kind="tmpfs", target="/kept-here")
    done = real.engine.run(real.container("cat", "/kept-here/kept", mounts=(mount,)))
    assert done.status == 1
    assert told(real, "cat", "/kept-here/kept") == "in the image"


def test_mounts_reach_the_host_and_read_only_does_not(real: Scratch, tmp_path: Path) -> None:
    directory = tmp_path / ("from host" if real.differs("comma") else "from,host")
    directory.mkdir()
    source = str(directory)
    bind = MountSpec(kind="bind", source=source, target="/kept-here")
    told(real, "put", "/kept-here/file", "from inside", mounts=(bind,))
    assert (directory / "file").read_text() == "from inside"
    closed = MountSpec(kind="bind", source=source, target="/kept-here", read_only=True)
    assert told(real, "cat", "/kept-here/file", mounts=(closed,)) == "from inside"
    done = real.engine.run(real.container("put", "/kept-here/file", "x", mounts=(closed,)))
    assert (done.status, done.output.startswith(b"Read-only")) == (1, True)


def test_limits_are_in_the_kernel(real: Scratch) -> None:
    state = real.engine.start(
        real.container("wait", name=real.name, pids_limit=77, memory=64 * 1024**2)
    )
    found = dict(_limits(state.pid))
    assert found["pids.max"] == "77"
    assert found["memory"] == str(64 * 1024**2)


def _limits(pid: int) -> Iterator[tuple[str, str]]:
    """What the host's control groups, of either version, say about a process."""
    top = Path("/sys/fs/cgroup")
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        directory = top / controllers / path.lstrip("/")
        for file, name in (
            ("pids.max", "pids.max"),
            ("memory.max", "memory"),
            ("memory.limit_in_bytes", "memory"),
        ):
            if (directory / file).exists():
                yield name, (directory / file).read_text().strip()


def test_networks_are_what_is_asked_for(real: Scratch) -> None:
    def devices(network: str) -> set[str]:
        lines = told(real, "cat", "/proc/net/dev", network=network).splitlines()[2:]
        return {line.split(":")[0].strip() for line in lines} - {"tunl0", "sit0", "ip6tnl0"}

    def has_way_out(network: str) -> bool:
        routes = told(real, "cat", "/proc/net/route", network=network).splitlines()[1:]
        return any(line.split()[1] == "00000000" for line in routes)

    assert devices("none") == {"lo"}
    assert "eth0" in devices("bridge")
    assert has_way_out("bridge")
    real.engine.create_network(NetworkSpec(name=real.name, internal=True))
    assert "eth0" in devices(real.name)
    assert not has_way_out(real.name)


def test_hosts_are_added(real: Scratch) -> None:
    hosts = told(real, "cat", "/etc/hosts", extra_hosts=(("example.test", "192.0.2.7"),))
    assert ["192.0.2.7", "example.test"] in [line.split()[:2] for line in hosts.splitlines()]


def test_an_archive_keeps_its_owners(real: Scratch) -> None:
    real.engine.create_volume(VolumeSpec(name=real.name))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        directory = tarfile.TarInfo("sub")
        directory.type, directory.mode, directory.uid, directory.gid = b"5", 0o2750, 1000, 7
        archive.addfile(directory)
        file = tarfile.TarInfo("sub/file")
        file.mode, file.uid, file.gid, file.size = 0o640, 1001, 9, 3
        archive.addfile(file, io.BytesIO(b"abc"))
    real.engine.write_archive(real.name, real.image, iter([buffer.getvalue()]))
    mounts = (MountSpec(kind="volume", source=real.name, target="/v"),)
    assert told(real, "status", "/v/sub", mounts=mounts) == "1000 7 2750"
    assert told(real, "status", "/v/sub/file", mounts=mounts) == "1001 9 640"
    assert told(real, "status", "/v", mounts=mounts) == "0 0 755"


def test_a_build_runs_with_its_secrets_and_keeps_none(real: Scratch, tmp_path: Path) -> None:
    """And takes files of a further context, as executable as it says."""
    for name in ("context", "more"):
        (tmp_path / name).mkdir()
    (tmp_path / "more" / "file").write_text("more")
    (tmp_path / "secret").write_text("hush")
    lines: list[str] = []
    spec = BuildSpec(
        tag=f"{real.name}:1",
        context=tmp_path / "context",
        dockerfile=(
            f"FROM {real.image}\n"
            "ARG WORD\n"
            'RUN --mount=type=secret,id=word ["/probe", "cat", "/run/secrets/word"]\n'
            'RUN ["/probe", "put", "/made", "by the build"]\n'
            "COPY --from=more --chmod=755 file /more\n"
            "ENV WORD=${WORD}\n"
        ),
        arguments=(("WORD", "it's $ok"),),
        secrets=(("word", tmp_path / "secret"),),
        contexts=(("more", tmp_path / "more"),),
        no_cache=True,
    )
    real.engine.build(spec, lines.append)
    assert any("hush" in line for line in lines)

    def inside(*words: str) -> tuple[int, str]:
        done = real.engine.run(ContainerSpec(image=spec.tag, command=("/probe", *words)))
        return done.status, done.output.decode()

    assert inside("cat", "/made") == (0, "by the build")
    assert inside("cat", "/run/secrets/word")[0] == 1
    assert inside("cat", "/more") == (0, "more")
    assert inside("status", "/more") == (0, "0 0 755\n")
    assert "WORD=it's $ok\n" in inside("environment")[1]


def test_an_interrupted_run_leaves_nothing(real: Scratch) -> None:
    program = (
        "import sys\n"
        "from aifo_tasks.engine.api import ContainerSpec\n"
        "from aifo_tasks.engine.docker import connect\n"
        "_, endpoint, image, label = sys.argv\n"
        "labels = (('io.aifo.contract', label),)\n"
        "spec = ContainerSpec(image=image, command=('/probe', 'wait'), labels=labels)\n"
        "connect(endpoint).run(spec)\n"
    )
    argv = [sys.executable, "-c", program, real.endpoint, real.image, real.name]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as child:
        label = {"io.aifo.contract": real.name}
        assert _until(lambda: any(one.running for one in real.engine.containers(label)))
        child.send_signal(signal.SIGINT)
    assert child.returncode != 0
    assert real.engine.containers({"io.aifo.contract": real.name}) == ()


@pytest.mark.parametrize("remove", [True, False])
def test_what_ends_at_once_was_still_started(real: Scratch, *, remove: bool) -> None:
    state = real.engine.start(real.container("exit", "3", name=real.name, remove=remove))
    assert state.status in ("running", "exited", "removed", "removing")


def test_an_interrupted_build_leaves_no_child(
    real: Scratch, tmp_path: Path, root_archive: Path
) -> None:
    base = f"{real.name}-other:1"  # Podman keeps the base of an interrupted build in use
    real.engine.import_image(ImportSpec(archive=root_archive, tag=base))
    spec = BuildSpec(
        tag=f"{real.name}:1",
        context=tmp_path,
        dockerfile=f'FROM {base}\nRUN ["/probe", "wait", "{real.name}"]\n',
    )
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from aifo_tasks.engine.api import BuildSpec\n"
        "from aifo_tasks.engine.docker import connect\n"
        "_, endpoint, tag, context, dockerfile = sys.argv\n"
        "spec = BuildSpec(tag=tag, context=Path(context), dockerfile=dockerfile)\n"
        "connect(endpoint).build(spec, print)\n"
    )
    argv = [sys.executable, "-c", program, real.endpoint, spec.tag, str(tmp_path), spec.dockerfile]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        step = _until(lambda: _processes(real.name))  # the RUN, in the engine
        child.send_signal(signal.SIGINT)
    assert step
    assert child.returncode != 0
    if real.differs("interrupted build"):
        for process in _processes(real.name):
            os.kill(process, signal.SIGKILL)
    assert _until(lambda: not [*_processes(spec.tag), *_processes(real.name)])
    assert real.engine.image(spec.tag) is None


def _until(condition: Callable[[], object]) -> bool:
    """Wait for something that happens within ten seconds."""
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def _processes(word: str) -> list[int]:
    """Host processes with that word among their arguments."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if word.encode() in (directory / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
    return found
