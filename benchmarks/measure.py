"""Timing: interleaved rounds, medians, and what two of them say of each other."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True, kw_only=True)
class Subject:
    """One thing that is timed; ``run`` does it once, ``before`` makes room for it untimed.

    It takes part in every ``every``-th round.
    """

    name: str
    run: Callable[[], None]
    before: Callable[[], None] = lambda: None
    every: int = 1
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(slots=True, kw_only=True)
class Load:
    """One thing that some clients do again and again at the same time.

    ``seconds`` are those of each call, ``elapsed`` those of all batches together; ``own`` is
    the processor time of the clients themselves, without that of the processes they start.
    """

    name: str
    clients: int
    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    own: float = 0.0

    @property
    def p50(self) -> float:
        return percentile(self.seconds, 50)

    @property
    def p99(self) -> float:
        return percentile(self.seconds, 99)

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.seconds) / self.elapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Seconds of a subject beside those of its anchor, the target and whether it is met.

    ``sense`` says which side of ``target`` is good; without a target it only tells.
    """

    name: str
    subject: float
    anchor: float
    sense: Literal["at most", "at least"]
    target: float | None = None

    @property
    def value(self) -> float:
        """How they stand to each other; for "at least" the anchor is the slower one."""
        fraction = self.subject / self.anchor
        return fraction if self.sense == "at most" else 1 / fraction

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        return self.value <= self.target if self.sense == "at most" else self.value >= self.target


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that was measured in one run."""

    subjects: list[Subject] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)


def percentile(values: Sequence[float], part: int) -> float:
    """The smallest of the values that ``part`` per cent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * part / 100) - 1)]


def interleaved(subjects: Sequence[Subject], rounds: int, *, warming: bool = True) -> None:
    """Time every subject once a round, so that a noisy minute falls on all of them.

    With ``warming`` there is a first round that warms caches and does not count.
    """
    for number in range(0 if warming else 1, rounds + 1):
        for subject in subjects:
            if number > 0 and (number - 1) % subject.every != 0:
                continue
            subject.before()
            start = time.perf_counter()
            subject.run()
            elapsed = time.perf_counter() - start
            if number > 0:
                subject.seconds.append(elapsed)
