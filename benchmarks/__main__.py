"""Run the benchmarks: ``python -m benchmarks [--rounds N] [--mebibytes N] [--json FILE]``.

Needs a container engine that answers (``doit engine``). Works on a copy of
``examples/pnpm-app`` and ends its sidecars.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from aifo_tasks.config import load
from aifo_tasks.session import ready, workplace
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar.record import Greeted
from aifo_tasks.toolexec import launcher
from benchmarks.measure import Ratio, Subject, interleaved, save, table

ROOT = Path(__file__).resolve().parent.parent
CHUNK = 1 << 20


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="aifo-benchmark-") as directory:
        project = Path(directory) / "pnpm-app"
        bare = Path(directory) / "bare"
        ignored = shutil.ignore_patterns("node_modules", ".pnpm-store", ".aifo")
        shutil.copytree(ROOT / "examples" / "pnpm-app", project, ignore=ignored)
        bare.mkdir()
        (bare / "dodo.py").write_text("def task_nothing():\n    return {'actions': []}\n")
        try:
            greeted, work = _ready(project)
            subjects, ratios = [], []
            for group in (_calls, _starts, _output):
                timed, compared = group(greeted, work, project, bare, arguments)
                subjects += timed
                ratios += compared
        finally:
            _command("aifo", "run", "sidecar_stop", cwd=project)()
    print(table(subjects, ratios))
    if arguments.json:
        save(arguments.json, subjects, ratios)
    return 0


def _calls(
    greeted: Greeted,
    work: Workplace,
    project: Path,
    bare: Path,
    arguments: argparse.Namespace,
) -> tuple[list[Subject], list[Ratio]]:
    """One call of ``true``, ways that differ by orders of magnitude: the fast ones repeat."""
    del project, bare
    peer, name = greeted.record.peer, greeted.record.name
    image = work.toolchain.image.reference

    def direct() -> None:
        status = launcher.capture(
            launcher.connect(peer), launcher.Call(argv=["true"], cwd="/"), on_output=_drop
        )
        assert status == 0

    spawn = Subject(name="plain spawn of true", run=_spawn)
    init = Subject(name="call of true straight to init", run=direct)
    interleaved([spawn, init], arguments.rounds * 20)
    execute = Subject(name="docker exec true", run=_command("docker", "exec", name, "true"))
    container = Subject(
        name="docker run --rm true",
        run=_command("docker", "run", "--rm", "--network", "none", image, "true"),
    )
    interleaved([execute, container], arguments.rounds)
    return [spawn, init, execute, container], [
        Ratio(
            name="direct call / plain spawn",
            subject=init, anchor=spawn, sense="at most", target=1.35,
        ),
        Ratio(
            name="docker exec / direct call",
            subject=init, anchor=execute, sense="at least", target=40,
        ),
    ]  # fmt: skip


def _starts(
    greeted: Greeted,
    work: Workplace,
    project: Path,
    bare: Path,
    arguments: argparse.Namespace,
) -> tuple[list[Subject], list[Ratio]]:
    """Whole commands."""
    del greeted
    image = work.toolchain.image.reference
    nothing = Subject(name="bare doit doing nothing", run=_command("doit", cwd=bare))
    warm = ("run", "toolchain:node", "--", "true")
    doit = Subject(
        name="warm doit run toolchain:node -- true", run=_command("doit", *warm, cwd=project)
    )
    aifo = Subject(
        name="warm aifo run toolchain:node -- true", run=_command("aifo", *warm, cwd=project)
    )
    current = Subject(
        name="doit run build_image:node install:node, up to date",
        run=_command("doit", "run", "build_image:node", "install:node", cwd=project),
    )
    container = Subject(
        name="docker run --rm true, beside doit",
        run=_command("docker", "run", "--rm", "--network", "none", image, "true"),
    )
    subjects = [nothing, doit, aifo, current, container]
    interleaved(subjects, arguments.rounds)
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


def _output(
    greeted: Greeted,
    work: Workplace,
    project: Path,
    bare: Path,
    arguments: argparse.Namespace,
) -> tuple[list[Subject], list[Ratio]]:
    """Bytes through a pipe to a reader that throws them away."""
    del work, project, bare
    peer, name = greeted.record.peer, greeted.record.name
    produce = ["head", "-c", f"{arguments.mebibytes}M", "/dev/zero"]

    def direct() -> None:
        launcher.capture(
            launcher.connect(peer), launcher.Call(argv=produce, cwd="/"), on_output=_drop
        )

    size = f"{arguments.mebibytes} MiB"
    plain = Subject(name=f"{size} through a plain pipe", run=lambda: _read(produce))
    init = Subject(name=f"{size} from a call straight to init", run=direct)
    execute = Subject(
        name=f"{size} through docker exec", run=lambda: _read(["docker", "exec", name, *produce])
    )
    interleaved([plain, init], max(3, arguments.rounds // 4))
    interleaved([execute], 2)
    return [plain, init, execute], [
        Ratio(
            name="output rate of a call / a plain pipe",
            subject=init, anchor=plain, sense="at least", target=0.95,
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


def _command(program: str, *words: str, cwd: Path | None = None) -> Callable[[], None]:
    beside = Path(sys.executable).parent / program
    argv = [str(beside) if beside.exists() else program, *words]

    def run() -> None:
        subprocess.run(argv, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    return run


def _read(argv: list[str]) -> None:
    """Read a child's output with the same chunk that the launcher uses."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdout is not None
        while os.read(child.stdout.fileno(), CHUNK):
            pass
    assert child.returncode == 0


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
