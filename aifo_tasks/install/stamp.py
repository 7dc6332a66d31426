"""The record of the last good install, kept in the overlay, and the sentinel beside it."""

from __future__ import annotations

from collections.abc import Mapping

from aifo_tasks.errors import InstallError, UsageError
from aifo_tasks.install.api import Plan, Runner
from aifo_tasks.model import WORKSPACE

NAME = ".aifo-pnpm-lock.hash"
PATH = f"{WORKSPACE}/node_modules/{NAME}"
SENTINEL = ".aifo-node-overlay"

# Values travel as arguments; none ever becomes part of a script.
_READ = 'name=$1; shift; for d do test -f "$d/$name" || exit 0; done; cat "$1/$STAMP" 2>&-; :'
_CLEAR = 'rm -f "$1/$STAMP"'
_WRITE = (
    "set -e; key=$1 name=$2; shift 2; "
    'for d do : >"$d/$name"; done; '
    'printf "%s\\n" "$key" >"$1/$STAMP.new"; mv -f "$1/$STAMP.new" "$1/$STAMP"'
)


def sentinel(environ: Mapping[str, str]) -> str:
    """The sentinel's file name: AIFO_NODE_OVERLAY_SENTINEL, or the default."""
    name = environ.get("AIFO_NODE_OVERLAY_SENTINEL", "") or SENTINEL
    if "/" in name or name in (".", "..", NAME):
        raise UsageError(
            "AIFO_NODE_OVERLAY_SENTINEL", f"must be a plain file name, not '{name}'",
            hint=f"AIFO_NODE_OVERLAY_SENTINEL={SENTINEL}",
        )  # fmt: skip
    return name


def read(run: Runner, plan: Plan) -> str:
    """The key of the last good install; "" when there is none or an overlay is a new one."""
    output = bytearray()
    _shell(run, _READ, plan.sentinel, *plan.targets, output=output)
    return output[:65].decode("ascii", "replace").strip()


def clear(run: Runner, plan: Plan) -> None:
    """Forget the last install, before anything changes what it made."""
    output = bytearray()
    if _shell(run, _CLEAR, plan.targets[0], output=output) != 0:
        raise _failed(plan, "the stamp cannot be removed", output)


def write(run: Runner, plan: Plan, key: str) -> None:
    """Mark every overlay and record ``key``, last and atomically."""
    output = bytearray()
    if _shell(run, _WRITE, key, plan.sentinel, *plan.targets, output=output) != 0:
        raise _failed(plan, "the install cannot be recorded", output)


def _shell(run: Runner, script: str, *arguments: str, output: bytearray) -> int:
    argv = ["sh", "-c", script, "sh", *arguments]
    return run(argv, environment={"STAMP": NAME}, on_output=output.extend)


def _failed(plan: Plan, problem: str, output: bytearray) -> InstallError:
    reason = output.decode("utf-8", "replace").strip()
    return InstallError(plan.subject, f"{problem}: {reason}", hint="doit sidecar_stop")
