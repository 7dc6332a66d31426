"""What an engine's refusals are called here; the sentences for both ways of asking it."""

from __future__ import annotations

import re

from aifo_tasks.errors import ConflictError, EngineError, NotFoundError

_REMEDIES = (
    (re.compile(r"no space left on device", re.IGNORECASE), "docker system df"),
    (re.compile(r"apparmor", re.IGNORECASE), "aa-status"),
    (re.compile(r"client version \S+ is too new", re.IGNORECASE), "doit engine"),
)

# Podman says these with status 500
_MISSING = re.compile(r"no such (container|image|volume|network)|network not found")
_TAKEN = re.compile(r"already in use|already exists|being used|has active endpoints")


def refused(subject: str, status: int, explanation: str) -> EngineError:
    """The engine's answer with an HTTP status of 400 or more, as one of our errors."""
    text = explanation.strip().removeprefix("Error response from daemon: ") or f"status {status}"
    hint = next((remedy for pattern, remedy in _REMEDIES if pattern.search(text)), "")
    if status == 404 or _MISSING.search(text):
        return NotFoundError(subject, text, hint=hint)
    # Podman's 409 to an attach says that the container cannot be started
    if _TAKEN.search(text) or (status == 409 and "for attach" not in text):
        return ConflictError(subject, text, hint=hint)
    return EngineError(subject, text, hint=hint)


def unreachable(endpoint: str, error: BaseException) -> EngineError:
    """No engine answers there: the operating system's reason, and how to get one."""
    cause = _system_error(error) or error
    reason = cause.strerror.lower() if isinstance(cause, OSError) and cause.strerror else str(cause)
    denied = isinstance(cause, PermissionError)
    hint = 'sudo usermod -aG docker "$USER"' if denied else "doit engine"
    problem = f"cannot be reached at {endpoint}: {reason or type(cause).__name__}"
    return EngineError("container engine", problem, hint=hint)


def _system_error(error: BaseException) -> OSError | None:
    """What the operating system said; HTTP libraries wrap it several times."""
    seen: list[BaseException] = [error]
    for found in seen:
        if isinstance(found, OSError) and isinstance(found.strerror, str):
            return found
        below = (found.__cause__, found.__context__, *found.args)
        seen += [one for one in below if isinstance(one, BaseException) and one not in seen]
    return None
