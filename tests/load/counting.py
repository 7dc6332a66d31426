"""What a process holds, by the kernel's word."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.native.running import descendants


@dataclass(frozen=True)
class Count:
    """Descriptors, threads, processes below it, and bytes of memory."""

    descriptors: int
    threads: int
    below: int
    resident: int

    @classmethod
    def of(cls, pid: int) -> Self:
        fields = _fields(pid)
        return cls(
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
            threads=fields["Threads"],
            below=len(descendants(pid)),
            resident=fields["VmRSS"] * 1024,
        )

    def __str__(self) -> str:
        return (
            f"{self.descriptors} descriptors, {self.threads} threads, {self.below} processes, "
            f"{self.resident // 1024} KiB"
        )


def settled(pid: int) -> Count:
    """What it holds once nothing changes any more: the last calls end a little later."""
    found = Count.of(pid)
    for _ in range(100):
        time.sleep(0.1)
        before, found = found, Count.of(pid)
        if before == found:
            break
    return found


def reset_peak(pid: int) -> None:
    """Begin anew to look for the most memory that a process holds."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """The most bytes of memory since then."""
    return _fields(pid)["VmHWM"] * 1024


def _fields(pid: int) -> dict[str, int]:
    """The numbers in a process's status; those of memory in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.split()[:2] for line in lines if len(line.split()) > 1)
    return {name.removesuffix(":"): int(value) for name, value in pairs if value.isdecimal()}
