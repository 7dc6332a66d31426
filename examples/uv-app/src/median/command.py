"""The program: one number a line in, one median a line out."""

import sys

from median import running


def main() -> int:
    """Exit status 1 for a line that is no number."""
    try:
        for median in running(map(float, sys.stdin)):
            print(f"{median:g}", flush=True)
    except ValueError as error:
        print(f"median: {error}", file=sys.stderr)
        return 1
    return 0
