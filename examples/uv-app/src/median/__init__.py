"""The median of all numbers so far."""

from collections.abc import Iterable, Iterator

from sortedcontainers import SortedList


def running(numbers: Iterable[float]) -> Iterator[float]:
    """After each number the median of it and all before, in logarithmic time."""
    seen: SortedList[float] = SortedList()
    for number in numbers:
        seen.add(number)
        middle = len(seen) // 2
        yield seen[middle] if len(seen) % 2 else (seen[middle - 1] + seen[middle]) / 2
