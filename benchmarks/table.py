"""A report as plain tables for people, and as one JSON file."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Load, Ratio, Report, Subject


def table(report: Report) -> str:
    """Milliseconds, then loads, then ratios; what was not measured has no table."""
    parts = (_subjects(report.subjects), _loads(report.loads), _ratios(report.ratios))
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if len(lines) > 1)


def save(path: Path, report: Report) -> None:
    """The same as JSON, with every single time."""
    data = {
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "seconds": {subject.name: subject.seconds for subject in report.subjects},
        "loads": [
            {
                "name": load.name,
                "clients": load.clients,
                "p50": load.p50,
                "p99": load.p99,
                "calls_per_second": load.rate,
                "own_processor_seconds": load.own,
                "seconds": load.seconds,
            }
            for load in report.loads
        ],
        "ratios": {
            ratio.name: {
                "value": ratio.value,
                "sense": ratio.sense,
                "target": ratio.target,
                "met": ratio.met,
            }
            for ratio in report.ratios
        },
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _subjects(subjects: Sequence[Subject]) -> Iterator[str]:
    yield f"{'':58} {'min':>9} {'median':>9} {'max':>9}  ms"
    for one in subjects:
        numbers = [value * 1000 for value in (min(one.seconds), one.median, max(one.seconds))]
        yield " ".join([f"{one.name:58}", *(f"{number:9.2f}" for number in numbers)])


def _loads(loads: Sequence[Load]) -> Iterator[str]:
    """``client`` is what the load client itself spends on a call: nobody else's time."""
    yield (
        f"{'':48} {'clients':>9} {'p50':>9} {'p99':>9}  ms {'calls/s':>9} {'calls':>7}"
        f" {'client':>7}  ms"
    )
    for load in loads:
        count = len(load.seconds)
        yield (
            f"{load.name:48} {load.clients:9} {load.p50 * 1000:9.2f} {load.p99 * 1000:9.2f}     "
            f"{load.rate:9.1f} {count:7} {load.own / count * 1000:7.2f}"
        )


def _ratios(ratios: Sequence[Ratio]) -> Iterator[str]:
    yield f"{'':68} {'ratio':>9} {'target':>14}"
    for ratio in ratios:
        verdict = "" if ratio.met else "  MISSED"
        goal = "" if ratio.target is None else f"{ratio.sense} {ratio.target:g}"
        yield f"{ratio.name:68} {ratio.value:9.2f} {goal:>14}{verdict}".rstrip()
