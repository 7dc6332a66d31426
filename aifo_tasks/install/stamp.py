"""The record of the last good install, kept where it is installed, and the sentinel beside it."""

from __future__ import annotations

from collections.abc import Mapping

from aifo_tasks.errors import InstallError, UsageError
from aifo_tasks.install.api import Plan, Runner
from aifo_tasks.model import Toolchain

# Values travel as arguments; none ever becomes part of a script.
_READ = (
    'stamp=$1 name=$2; shift 2; for d do test -f "$d/$name" || exit 0; done; cat "$stamp" 2>&-; :'
)
_CLEAR = 'rm -f "$1/.aifo-$2"*-lock.hash'
_WRITE = (
    'set -e; key=$1 stamp=$2 name=$3; shift 3; mkdir -p "${stamp%/*}"; '
    'for d do mkdir -p "$d"; : >"$d/$name"; done; '
    'printf "%s\\n" "$key" >"$stamp.new"; mv -f "$stamp.new" "$stamp"'
)


def path(plan: Plan) -> str:
    """The stamp's file inside the sidecar: in an overlay, or the project's own in a store."""
    return f"{plan.targets[0]}/.aifo-{_own(plan)}{plan.manager.NAME}-lock.hash"


def warm_path(plan: Plan) -> str:
    """The file in the store that records from what lockfile it was filled."""
    return f"{plan.store.target}/.aifo-{plan.key}-warm.hash"


def sentinel(toolchain: Toolchain, key: str, environ: Mapping[str, str]) -> str:
    """The name of the file that marks an overlay: AIFO_<KIND>_OVERLAY_SENTINEL, or the default.

    In a store, where ``key`` is not "", it is the project's own.
    """
    if key:
        return f".aifo-{key}-{toolchain.kind}"
    variable = f"AIFO_{toolchain.variable}_OVERLAY_SENTINEL"
    default = f".aifo-{toolchain.kind}-overlay"
    name = environ.get(variable, "") or default
    if "/" in name or name in (".", "..") or name.endswith("-lock.hash"):
        raise UsageError(
            variable, f"must be a plain file name, not '{name}'", hint=f"{variable}={default}"
        )
    return name


def read(run: Runner, plan: Plan) -> str:
    """The key of the last good install; "" when there is none or an overlay is a new one."""
    return _key(run, path(plan), plan.sentinel, *plan.targets)


def clear(run: Runner, plan: Plan) -> None:
    """Forget the last install, whichever manager's, before anything changes what it made."""
    output = bytearray()
    if _shell(run, _CLEAR, plan.targets[0], _own(plan), output=output) != 0:
        raise _failed(plan, "the stamp cannot be removed", output)


def write(run: Runner, plan: Plan, key: str) -> None:
    """Mark every target and record ``key``, last and atomically."""
    output = bytearray()
    if _shell(run, _WRITE, key, path(plan), plan.sentinel, *plan.targets, output=output) != 0:
        raise _failed(plan, "the install cannot be recorded", output)


def read_warm(run: Runner, plan: Plan) -> str:
    """The key with which the store was filled last; "" when it was not."""
    return _key(run, warm_path(plan), "")


def write_warm(run: Runner, plan: Plan, key: str) -> None:
    """Record that the store holds all that ``key`` stands for."""
    output = bytearray()
    if _shell(run, _WRITE, key, warm_path(plan), "", output=output) != 0:
        raise _failed(plan, "the store cannot be written", output)


def _own(plan: Plan) -> str:
    return f"{plan.key}-" if plan.shared else ""


def _key(run: Runner, *arguments: str) -> str:
    output = bytearray()
    _shell(run, _READ, *arguments, output=output)
    return output[:65].decode("ascii", "replace").strip()


def _shell(run: Runner, script: str, *arguments: str, output: bytearray) -> int:
    return run(["sh", "-c", script, "sh", *arguments], on_output=output.extend)


def _failed(plan: Plan, problem: str, output: bytearray) -> InstallError:
    reason = output.decode("utf-8", "replace").strip()
    return InstallError(plan.subject, f"{problem}: {reason}", hint="doit sidecar_stop")
