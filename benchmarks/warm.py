"""Warm calls, starts and output of ``doit run``: what nothing to do costs."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
from pathlib import Path

from aifo_tasks.toolexec import launcher
from aifo_tasks.value import dataclass
from benchmarks.calls import posix_spawn, straight
from benchmarks.measure import Ratio, Report, Subject, interleaved
from benchmarks.output import read, read_from
from benchmarks.project import ROOT, Place, command, warmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A warm project, a directory where doit has nothing to do, and the command line."""

    place: Place
    bare: Path
    arguments: argparse.Namespace


def measure(directory: Path, arguments: argparse.Namespace) -> Report:
    """Work in a copy of ``examples/pnpm-app`` below a directory."""
    project, bare = directory / "pnpm-app", directory / "bare"
    ignored = shutil.ignore_patterns("node_modules", ".pnpm-store", ".aifo")
    shutil.copytree(ROOT / "examples" / "pnpm-app", project, ignore=ignored)
    bare.mkdir()
    (bare / "dodo.py").write_text("def task_nothing():\n    return {'actions': []}\n")
    report = Report()
    with warmed(project) as place:
        bench = Bench(place=place, bare=bare, arguments=arguments)
        for name in arguments.only:
            GROUPS[name](bench, report)
    return report


def _calls(bench: Bench, report: Report) -> None:
    """One call of ``true``, ways that differ by orders of magnitude: the fast ones repeat.

    Like beside like: the kernel's own spawn beside init with the least a client can do, and
    the standard library's call that collects output beside ours.
    """
    peer, name = bench.place.peer, bench.place.sidecar

    def captured() -> None:
        status = launcher.capture(
            launcher.connect(peer), launcher.Call(argv=["true"], cwd="/"), on_output=_drop
        )
        assert status == 0

    spawn = Subject(name="posix_spawn of true", run=posix_spawn(["true"]))
    init = Subject(name="call of true straight to init", run=straight(str(peer.socket)))
    library = Subject(name="subprocess.run of true, output collected", run=_collected)
    ours = Subject(name="launcher.capture of true, output collected", run=captured)
    interleaved([spawn, init, library, ours], bench.arguments.rounds * 20)
    execute = Subject(name="docker exec true", run=command("docker", "exec", name, "true"))
    interleaved([execute], bench.arguments.rounds)
    report.subjects += [spawn, init, library, ours, execute]
    report.ratios += [
        Ratio(
            name="call straight to init / posix_spawn",
            subject=init.median, anchor=spawn.median, sense="at most", target=1.35,
        ),
        Ratio(
            name="launcher.capture / subprocess.run",
            subject=ours.median, anchor=library.median, sense="at most", target=1.35,
        ),
        Ratio(
            name="docker exec / launcher.capture",
            subject=ours.median, anchor=execute.median, sense="at least", target=40,
        ),
    ]  # fmt: skip


def _starts(bench: Bench, report: Report) -> None:
    """Whole commands."""
    image, project = bench.place.work.image, bench.place.project
    nothing = Subject(name="bare doit doing nothing", run=command("doit", cwd=bench.bare))
    warm = ("run", "toolchain:node", "--", "true")
    doit = Subject(
        name="warm doit run toolchain:node -- true",
        run=command("doit", *warm, cwd=project),
    )
    aifo = Subject(
        name="warm aifo run toolchain:node -- true",
        run=command("aifo", *warm, cwd=project),
    )
    current = Subject(
        name="doit run build_image:node install:node, up to date",
        run=command("doit", "run", "build_image:node", "install:node", cwd=project),
    )
    container = Subject(
        name="docker run --rm true",
        run=command("docker", "run", "--rm", image, "true"),
    )
    subjects = [nothing, doit, aifo, current, container]
    interleaved(subjects, bench.arguments.rounds)
    report.subjects += subjects
    report.ratios += [
        Ratio(
            name="warm doit run / bare doit",
            subject=doit.median, anchor=nothing.median, sense="at most", target=1.25,
        ),
        Ratio(
            name="warm aifo run / bare doit",
            subject=aifo.median, anchor=nothing.median, sense="at most", target=1.25,
        ),
        Ratio(
            name="everything up to date / bare doit",
            subject=current.median, anchor=nothing.median, sense="at most", target=1.5,
        ),
        Ratio(
            name="docker run --rm / warm doit run",
            subject=doit.median, anchor=container.median, sense="at least", target=3,
        ),
    ]  # fmt: skip


def _toolchains(bench: Bench, report: Report) -> None:
    """All that are shipped at once, beside one; their images are built if they have to be."""
    project = bench.bare / "toolchains"
    project.mkdir()
    (project / "toolchains.yaml").write_text("extends: builtin\n")
    command("aifo", "run", "-n", "2", "build_image", cwd=project)()
    stop = command("aifo", "run", "sidecar_stop", cwd=project)
    nothing = Subject(name="bare doit doing nothing, again", run=command("doit", cwd=bench.bare))
    current = Subject(
        name="aifo run build_image, all up to date",
        run=command("aifo", "run", "build_image", cwd=project),
    )
    one = Subject(
        name="one sidecar, from nothing",
        run=command("aifo", "run", "sidecar:go", cwd=project), before=stop, every=5,
    )  # fmt: skip
    five = Subject(
        name="all sidecars at once, from nothing",
        run=command("aifo", "run", "-n", "5", "sidecar", cwd=project), before=stop, every=5,
    )  # fmt: skip
    try:
        interleaved([nothing, current, one, five], bench.arguments.rounds)
    finally:
        stop()
    report.subjects += [nothing, current, one, five]
    report.ratios += [
        Ratio(
            name="all images up to date / bare doit",
            subject=current.median, anchor=nothing.median, sense="at most", target=1.5,
        ),
        Ratio(
            name="all sidecars / one",
            subject=five.median, anchor=one.median, sense="at most", target=2,
        ),
    ]  # fmt: skip


def _output(bench: Bench, report: Report) -> None:
    """Bytes through a pipe to a reader that throws them away.

    The kernel accounts each page that a process of a container writes into a pipe: the same
    pipe inside the container tells what of the difference is the container's, not the call's.
    """
    peer, name = bench.place.peer, bench.place.sidecar
    # large writes: the engine's filter makes each system call of a tool dearer, whoever reads
    produce = ["dd", "if=/dev/zero", "bs=1M", f"count={bench.arguments.mebibytes}", "status=none"]

    def call(argv: list[str]) -> None:
        request = launcher.Call(argv=argv, cwd="/")
        read_from(lambda: launcher.attach(launcher.connect(peer), request))

    size = f"{bench.arguments.mebibytes} MiB"
    plain = Subject(name=f"{size} through a plain pipe", run=lambda: read(produce))
    init = Subject(name=f"{size} from a call straight to init", run=lambda: call(produce))
    execute = Subject(
        name=f"{size} through docker exec", run=lambda: read(["docker", "exec", name, *produce])
    )
    pipeline = ["sh", "-c", f"{shlex.join(produce)} | dd of=/dev/null bs=1M status=none"]
    inside = Subject(name=f"{size} through a pipe inside the container", run=lambda: call(pipeline))
    interleaved([plain, init, inside], max(3, bench.arguments.rounds // 4))
    interleaved([execute], 2)
    report.subjects += [plain, init, inside, execute]
    report.ratios += [
        Ratio(
            name="output rate of a call / a plain pipe",
            subject=init.median, anchor=plain.median, sense="at least", target=0.95,
        ),
        Ratio(
            name="output rate of a call / a pipe inside the container",
            subject=init.median, anchor=inside.median, sense="at least", target=0.95,
        ),
        Ratio(
            name="output rate of a call / docker exec",
            subject=init.median, anchor=execute.median, sense="at least", target=2,
        ),
    ]  # fmt: skip


def _collected() -> None:
    done = subprocess.run(["true"], capture_output=True, check=True)
    assert done.stdout == b""


def _drop(data: bytes) -> None:
    pass


GROUPS = {"calls": _calls, "starts": _starts, "toolchains": _toolchains, "output": _output}
