"""Draws the CSV that it reads as a table, wide characters and all."""

import csv
import sys
from collections.abc import Iterable

from tabulate import tabulate


def drawn(lines: Iterable[str]) -> str:
    """The table of lines of CSV, the first being its head; "" without lines."""
    rows = list(csv.reader(lines))
    return tabulate(rows[1:], headers=rows[0], tablefmt="simple_grid") if rows else ""


if __name__ == "__main__":
    print(drawn(sys.stdin))
