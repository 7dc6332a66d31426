"""A process of its own that attaches to a call here: SOCKET PID START_TIME ARGV..."""

from __future__ import annotations

import sys
from pathlib import Path

from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import launcher


def main() -> int:
    path, pid, start, *argv = sys.argv[1:]
    peer = launcher.Peer(socket=Path(path), pid=int(pid), start_time=int(start))
    try:
        return launcher.attach(
            launcher.connect(peer), launcher.Call(argv=argv, cwd=str(Path.cwd()), looks=True)
        )
    except AifoError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
