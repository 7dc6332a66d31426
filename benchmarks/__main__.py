"""Run the benchmarks: ``python -m benchmarks [exec|installs] [--only GROUP] [--json FILE]``.

Without a word: warm calls, starts and output of ``doit run``. ``exec``: tool calls through
shims and the proxy, beside every other way into a container. ``installs``: the examples'
dependencies, beside their package managers alone. Needs a container engine that
answers (``doit engine``), works on projects of its own, and ends what it starts.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from aifo_tasks.errors import AifoError
from benchmarks import installs, toolexec, warm
from benchmarks.measure import Report
from benchmarks.table import save, table

SUBJECTS = {"warm": warm, "exec": toolexec, "installs": installs}


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _leave)  # on every way out what was started is ended
    signal.signal(signal.SIGHUP, _leave)
    with tempfile.TemporaryDirectory(prefix="aifo-benchmark-") as directory:
        try:
            report: Report = SUBJECTS[arguments.subject].measure(Path(directory), arguments)
        except AifoError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    print(table(report))
    if arguments.json:
        save(arguments.json, report)
    return 0


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=SUBJECTS, default="warm")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each comparison")
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of the output transfer")
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[1, 8, 64], metavar="N",
        help="clients that call at the same time (exec)",
    )  # fmt: skip
    parser.add_argument("--burst", type=int, default=1000, help="calls that begin at once (exec)")
    parser.add_argument("--only", action="append", metavar="GROUP", help="leave the others out")
    parser.add_argument("--json", type=Path, help="also write every time to this file")
    arguments = parser.parse_args()
    known = list(SUBJECTS[arguments.subject].GROUPS)
    arguments.only = arguments.only or known
    for name in arguments.only:
        if name not in known:
            parser.error(f"--only: expected one of {', '.join(known)}, found '{name}'")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
