"""Tool calls through shims and the proxy, beside every other way into a container."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from aifo_tasks.toolexec import launcher
from benchmarks import calls, make, shims
from benchmarks.clients import Call, Way, at_once, loaded
from benchmarks.measure import Load, Ratio, Report, Subject, interleaved
from benchmarks.output import read, read_from
from benchmarks.shims import Bench, Transport


def measure(directory: Path, arguments: argparse.Namespace) -> Report:
    """Work in projects of its own below a directory."""
    report = Report()
    with shims.bench(directory, arguments) as bench:
        for name in arguments.only:
            GROUPS[name](bench, report)
    return report


def _calls(bench: Bench, report: Report) -> None:
    """Calls of ``true``, from one client and from several at the same time."""
    called = [_shim(bench, transport) for transport in bench.transports]
    peer, container = bench.place.peer, bench.place.sidecar
    spawn = Way(name="posix_spawn", begin=lambda: calls.posix_spawn(["true"]))
    init = Way(name="straight to init", begin=lambda: calls.straight(str(peer.socket)))
    execute = Way(
        name="docker exec", slow=True,
        begin=lambda: calls.posix_spawn(["docker", "exec", container, "true"]),
    )  # fmt: skip
    endpoint = os.environ["DOCKER_HOST"]
    library = Way(name="docker SDK", slow=True, begin=lambda: calls.sdk(endpoint, container))
    ways = [spawn, init, *called, execute, library]
    for clients in bench.arguments.clients:
        count = max(5, 100 // clients)
        loads = loaded(ways, clients, rounds=bench.arguments.rounds, calls=count)
        report.loads += loads
        report.ratios += _call_ratios(loads, bench.transports[0].name)


def _call_ratios(loads: Sequence[Load], best: str) -> Iterator[Ratio]:
    """What a call takes: p50 for one client, the share of the whole for several."""
    clients = loads[0].clients
    alone, also = clients == 1, f", {clients} clients" if clients > 1 else ""
    seconds = {load.name: load.p50 if alone else 1 / load.rate for load in loads}
    targets = {"straight to init": 1.35, best: 2} if alone else {}
    for name, each in seconds.items():
        if name == "straight to init" or name.startswith("shim"):
            yield Ratio(
                name=f"{name} / posix_spawn{also}", sense="at most", target=targets.get(name),
                subject=each, anchor=seconds["posix_spawn"],
            )  # fmt: skip
    for name, target in (("docker exec", 40 if alone else None), ("docker SDK", None)):
        yield Ratio(
            name=f"{name} / {best}{also}", sense="at least", target=target,
            subject=seconds[best], anchor=seconds[name],
        )  # fmt: skip


def _burst(bench: Bench, report: Report) -> None:
    """So many shims that begin at the same moment; each has one call."""
    way = _shim(bench, bench.transports[0])
    at_once(way, 1)
    load = at_once(way, bench.arguments.burst)
    spread = Ratio(
        name=f"p99 / p50 of {load.clients} calls at once", sense="at most", target=20,
        subject=load.p99, anchor=load.p50,
    )  # fmt: skip
    report.loads.append(load)
    report.ratios.append(spread)


def _output(bench: Bench, report: Report) -> None:
    """Bytes through a pipe to a reader that throws them away.

    The same pipe inside the container tells what of a difference is the container's.
    """
    size = f"{bench.arguments.mebibytes} MiB"
    produce = ["dd", "if=/dev/zero", "bs=1M", f"count={bench.arguments.mebibytes}", "status=none"]
    pipeline = ["sh", "-c", f"{shlex.join(produce)} | dd of=/dev/null bs=1M status=none"]
    request = launcher.Call(argv=pipeline, cwd="/")
    plain = Subject(name=f"{size}, plain pipe", run=lambda: read(produce))
    inside = Subject(
        name=f"{size}, pipe inside the container",
        run=lambda: read_from(lambda: launcher.attach(launcher.connect(bench.place.peer), request)),
    )
    execute = Subject(
        name=f"{size}, docker exec", every=4,
        run=lambda: read(["docker", "exec", bench.place.sidecar, *produce]),
    )  # fmt: skip
    called = [_producer(bench, transport, size, produce) for transport in bench.transports]
    subjects = [plain, inside, *called, execute]
    interleaved(subjects, max(1, bench.arguments.rounds // 4))
    report.subjects += subjects
    for shim, transport in zip(called, bench.transports, strict=True):
        passes, name = transport.passes, f"output rate of {transport.name}"
        report.ratios += [
            Ratio(
                name=f"{name} / plain pipe", sense="at least", target=0.95 if passes else None,
                subject=shim.median, anchor=plain.median,
            ),
            Ratio(
                name=f"{name} / docker exec", sense="at least", target=None if passes else 2,
                subject=shim.median, anchor=execute.median,
            ),
        ]  # fmt: skip


def _producer(bench: Bench, transport: Transport, size: str, produce: list[str]) -> Subject:
    argv = [str(bench.shims / produce[0]), *produce[1:]]
    return Subject(
        name=f"{size}, {transport.name}",
        run=lambda: read(argv, transport.environment, transport.project),
    )


def _shim(bench: Bench, transport: Transport) -> Way:
    def begin() -> Call:
        os.chdir(transport.project)
        return calls.posix_spawn([str(bench.shims / "true")], transport.environment)

    return Way(name=transport.name, begin=begin)


GROUPS = {"calls": _calls, "burst": _burst, "output": _output, "make": make.compare}
