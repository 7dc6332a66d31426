"""Timing: interleaved rounds, medians, ratios, one table and one JSON file."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(slots=True, kw_only=True)
class Subject:
    """One thing that is timed; ``run`` does it once."""

    name: str
    run: Callable[[], None]
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A subject beside its anchor: medians of one run, the target and whether it is met.

    ``sense`` says which side of ``target`` is good for ``subject / anchor``.
    """

    name: str
    subject: Subject
    anchor: Subject
    sense: Literal["at most", "at least"]
    target: float

    @property
    def value(self) -> float:
        """How the medians stand to each other; for "at least" the anchor is the slower one."""
        subject, anchor = self.subject.median, self.anchor.median
        return subject / anchor if self.sense == "at most" else anchor / subject

    @property
    def met(self) -> bool:
        return self.value <= self.target if self.sense == "at most" else self.value >= self.target


def interleaved(subjects: Sequence[Subject], rounds: int) -> None:
    """Time every subject once a round, so that a noisy minute falls on all of them.

    The first round warms caches and does not count.
    """
    for number in range(rounds + 1):
        for subject in subjects:
            start = time.perf_counter()
            subject.run()
            elapsed = time.perf_counter() - start
            if number > 0:
                subject.seconds.append(elapsed)


def table(subjects: Sequence[Subject], ratios: Sequence[Ratio]) -> str:
    """Two plain tables: milliseconds, then ratios."""
    lines = [f"{'':58} {'min':>9} {'median':>9} {'max':>9}  ms"]
    for one in subjects:
        low, mid, high = (
            value * 1000 for value in (min(one.seconds), one.median, max(one.seconds))
        )
        lines.append(f"{one.name:58} {low:9.2f} {mid:9.2f} {high:9.2f}")
    lines += ["", f"{'':58} {'ratio':>9} {'target':>18}"]
    for ratio in ratios:
        verdict = "" if ratio.met else "  MISSED"
        goal = f"{ratio.sense} {ratio.target:g}"
        lines.append(f"{ratio.name:58} {ratio.value:9.2f} {goal:>18}{verdict}")
    return "\n".join(lines)


def save(path: Path, subjects: Sequence[Subject], ratios: Sequence[Ratio]) -> None:
    """The same as JSON, with every single time."""
    data = {
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "seconds": {subject.name: subject.seconds for subject in subjects},
        "ratios": {
            ratio.name: {
                "value": ratio.value,
                "sense": ratio.sense,
                "target": ratio.target,
                "met": ratio.met,
            }
            for ratio in ratios
        },
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
