"""Run the benchmarks: ``python -m benchmarks [--rounds N] [--mebibytes N] [--json FILE]``.

Needs a container engine that answers (``doit engine``). Works on a copy of
``examples/pnpm-app`` and ends its sidecars.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from aifo_tasks.config import load
from aifo_tasks.session import ready, workplace
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.record import Greeted
from aifo_tasks.toolexec import frames, launcher
from aifo_tasks.value import dataclass
from benchmarks.measure import Ratio, Subject, interleaved, save, table

ROOT = Path(__file__).resolve().parent.parent
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A warm project, a directory where doit has nothing to do, and the command line."""

    greeted: Greeted
    work: Workplace
    project: Path
    bare: Path
    arguments: argparse.Namespace


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="aifo-benchmark-") as directory:
        project = Path(directory) / "pnpm-app"
        bare = Path(directory) / "bare"
        ignored = shutil.ignore_patterns("node_modules", ".pnpm-store", ".aifo")
        shutil.copytree(ROOT / "examples" / "pnpm-app", project, ignore=ignored)
        bare.mkdir()
        (bare / "dodo.py").write_text("def task_nothing():\n    return {'actions': []}\n")
        volumes: list[str] = []
        try:
            greeted, work = _ready(project)
            volumes += [covered.volume for covered in work.covered]
            bench = Bench(
                greeted=greeted, work=work, project=project, bare=bare, arguments=arguments
            )
            subjects, ratios = [], []
            for group in (_calls, _starts, _output):
                timed, compared = group(bench)
                subjects += timed
                ratios += compared
        finally:
            _command("aifo", "run", "sidecar_stop", cwd=project)()
            _command("docker", "volume", "rm", "--force", *volumes)()
    print(table(subjects, ratios))
    if arguments.json:
        save(arguments.json, subjects, ratios)
    return 0


def _calls(bench: Bench) -> tuple[list[Subject], list[Ratio]]:
    """One call of ``true``, ways that differ by orders of magnitude: the fast ones repeat.

    Like beside like: the kernel's own spawn beside init with the least a client can do, and
    the standard library's call that collects output beside ours.
    """
    peer, name = bench.greeted.record.peer, bench.greeted.record.name

    def captured() -> None:
        status = launcher.capture(
            launcher.connect(peer), launcher.Call(argv=["true"], cwd="/"), on_output=_drop
        )
        assert status == 0

    spawn = Subject(name="posix_spawn of true", run=_spawn)
    init = Subject(name="call of true straight to init", run=_bare_client(str(peer.socket)))
    library = Subject(name="subprocess.run of true, output collected", run=_collected)
    ours = Subject(name="launcher.capture of true, output collected", run=captured)
    interleaved([spawn, init, library, ours], bench.arguments.rounds * 20)
    execute = Subject(name="docker exec true", run=_command("docker", "exec", name, "true"))
    interleaved([execute], bench.arguments.rounds)
    return [spawn, init, library, ours, execute], [
        Ratio(
            name="call straight to init / posix_spawn",
            subject=init, anchor=spawn, sense="at most", target=1.35,
        ),
        Ratio(
            name="launcher.capture / subprocess.run",
            subject=ours, anchor=library, sense="at most", target=1.35,
        ),
        Ratio(
            name="docker exec / launcher.capture",
            subject=ours, anchor=execute, sense="at least", target=40,
        ),
    ]  # fmt: skip


def _starts(bench: Bench) -> tuple[list[Subject], list[Ratio]]:
    """Whole commands."""
    image = bench.work.image
    nothing = Subject(name="bare doit doing nothing", run=_command("doit", cwd=bench.bare))
    warm = ("run", "toolchain:node", "--", "true")
    doit = Subject(
        name="warm doit run toolchain:node -- true", run=_command("doit", *warm, cwd=bench.project)
    )
    aifo = Subject(
        name="warm aifo run toolchain:node -- true", run=_command("aifo", *warm, cwd=bench.project)
    )
    current = Subject(
        name="doit run build_image:node install:node, up to date",
        run=_command("doit", "run", "build_image:node", "install:node", cwd=bench.project),
    )
    container = Subject(
        name="docker run --rm true",
        run=_command("docker", "run", "--rm", image, "true"),
    )
    subjects = [nothing, doit, aifo, current, container]
    interleaved(subjects, bench.arguments.rounds)
    return subjects, [
        Ratio(
            name="warm doit run / bare doit",
            subject=doit, anchor=nothing, sense="at most", target=1.25,
        ),
        Ratio(
            name="warm aifo run / bare doit",
            subject=aifo, anchor=nothing, sense="at most", target=1.25,
        ),
        Ratio(
            name="everything up to date / bare doit",
            subject=current, anchor=nothing, sense="at most", target=1.5,
        ),
        Ratio(
            name="docker run --rm / warm doit run",
            subject=doit, anchor=container, sense="at least", target=3,
        ),
    ]  # fmt: skip


def _output(bench: Bench) -> tuple[list[Subject], list[Ratio]]:
    """Bytes through a pipe to a reader that throws them away.

    The kernel accounts each page that a process of a container writes into a pipe: the same
    pipe inside the container tells what of the difference is the container's, not the call's.
    """
    peer, name = bench.greeted.record.peer, bench.greeted.record.name
    # large writes: the engine's filter makes each system call of a tool dearer, whoever reads
    produce = ["dd", "if=/dev/zero", "bs=1M", f"count={bench.arguments.mebibytes}", "status=none"]

    def call(argv: list[str]) -> None:
        request = launcher.Call(argv=argv, cwd="/")
        _read_from(lambda: launcher.attach(launcher.connect(peer), request))

    size = f"{bench.arguments.mebibytes} MiB"
    plain = Subject(name=f"{size} through a plain pipe", run=lambda: _read(produce))
    init = Subject(name=f"{size} from a call straight to init", run=lambda: call(produce))
    execute = Subject(
        name=f"{size} through docker exec", run=lambda: _read(["docker", "exec", name, *produce])
    )
    pipeline = ["sh", "-c", f"{shlex.join(produce)} | dd of=/dev/null bs=1M status=none"]
    inside = Subject(name=f"{size} through a pipe inside the container", run=lambda: call(pipeline))
    interleaved([plain, init, inside], max(3, bench.arguments.rounds // 4))
    interleaved([execute], 2)
    return [plain, init, inside, execute], [
        Ratio(
            name="output rate of a call / a plain pipe",
            subject=init, anchor=plain, sense="at least", target=0.95,
        ),
        Ratio(
            name="output rate of a call / a pipe inside the container",
            subject=init, anchor=inside, sense="at least", target=0.95,
        ),
        Ratio(
            name="output rate of a call / docker exec",
            subject=init, anchor=execute, sense="at least", target=2,
        ),
    ]  # fmt: skip


def _ready(project: Path) -> tuple[Greeted, Workplace]:
    config = load.load(project)
    toolchain = config.toolchain("node")
    assert toolchain is not None
    work = workplace.workplace(config, toolchain)
    consent = os.environ.get("AIFO_YES") == "1"
    greeted = ready.warm(work) or ready.prepare(work, Choices(consent=consent))
    assert greeted is not None
    engine = ready.connect(consent=consent).info()
    os.environ["DOCKER_HOST"] = engine.endpoint
    return greeted, work


def _spawn() -> None:
    pid = os.posix_spawnp("true", ["true"], os.environ)
    _, status = os.waitpid(pid, 0)
    assert status == 0


def _collected() -> None:
    done = subprocess.run(["true"], capture_output=True, check=True)
    assert done.stdout == b""


def _bare_client(path: str) -> Callable[[], None]:
    """Connect, one frame with three descriptors, wait for the frame that says the end."""
    call = frames.Call(argv=(b"true",), cwd=b"/").encode()
    request = frames.Frame(type=frames.Type.CALL, payload=call).encode()
    null = os.open(os.devnull, os.O_RDWR)
    end = frames.Frame(
        type=frames.Type.EXIT, payload=frames.Exit(signalled=False, value=0).encode()
    ).encode()

    def run() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            socket.send_fds(connection, [request], [null] * 3)
            answer = b""
            while data := connection.recv(256):
                answer += data
            assert answer.endswith(end)

    return run


def _command(program: str, *words: str, cwd: Path | None = None) -> Callable[[], None]:
    beside = Path(sys.executable).parent / program
    argv = [str(beside) if beside.exists() else program, *words]
    # compiled modules are kept, as they are on everybody's machine
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def run() -> None:
        subprocess.run(
            argv,
            cwd=cwd,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    return run


def _read(argv: list[str]) -> None:
    """Run a command and throw away what it writes."""
    _read_from(lambda: subprocess.call(argv))


def _read_from(run: Callable[[], int]) -> None:
    """Run something in a process of its own with a pipe as its output, and read that."""
    read, write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        os.close(read)
        os.close(write)
        os._exit(run())
    os.close(write)
    while os.read(read, CHUNK):
        pass
    os.close(read)
    _, status = os.waitpid(child, 0)
    assert status == 0


def _drop(data: bytes) -> None:
    pass


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each comparison")
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the output transfer")
    parser.add_argument("--json", type=Path, help="also write every time to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
