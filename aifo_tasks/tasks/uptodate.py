"""Up-to-date checks that can say why a task runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aifo_tasks import files

PRESENTATION = frozenset({"dry_run", "verbose", "yes"})
"""Options that change how a task is shown, not what it makes."""


Question = Callable[[Mapping[str, Any]], str | None]
"""Asked with a task's options: None when nothing is to be done, else the reason to run."""


class Reasoned(Protocol):
    """A check with a reason: what the reporter shows when the task runs because of it."""

    reason: str

    def __call__(self, task: Any, values: Mapping[str, Any]) -> bool: ...


class changed:  # noqa: N801  # reads as a word of the task: "uptodate": [changed(...)]
    """Up to date while configuration and parsed options equal those of the last success.

    ``configuration`` is anything made of plain values, paths and frozen dataclasses, by
    key; ``options`` names the options that count (all but those of presentation, when not
    given). Only digests are kept, one a key. Several may stand on one task.
    """

    def __init__(self, *, options: Iterable[str] | None = None, **configuration: object) -> None:
        self.reason = ""
        self._options = None if options is None else frozenset(options)
        self._configuration = {key: _digest(value) for key, value in configuration.items()}
        self._now: dict[str, str] = {}
        self._key = ""

    def configure_task(self, task: Any) -> None:  # doit has no types
        self._key = f"changed:{len(task.value_savers)}"  # its place tells it from others
        task.value_savers.append(lambda: {self._key: self._now})

    def __call__(self, task: Any, values: Mapping[str, Any]) -> bool:
        task.init_options()
        self._now = self._configuration | {
            f"--{name.replace('_', '-')}": _digest(value)
            for name, value in task.options.items()
            if (name not in PRESENTATION if self._options is None else name in self._options)
        }
        before = values.get(self._key)
        self.reason = _difference(before, self._now)
        return not self.reason


class asked:  # noqa: N801  # reads as a word of the task: "uptodate": [asked(image.stale)]
    """Up to date when ``question``, asked with the task's options, has no reason to run.

    ``question(options)`` returns None when nothing is to be done, else the reason as a
    sentence: ``the Dockerfile changed``. An AifoError it raises is the task's failure.
    """

    def __init__(self, question: Question) -> None:
        self.reason = ""
        self._question = question

    def __call__(self, task: Any, values: Mapping[str, Any]) -> bool:  # noqa: ARG002
        task.init_options()
        self.reason = self._question(task.options) or ""
        return not self.reason


def _difference(before: object, now: Mapping[str, str]) -> str:
    if not isinstance(before, dict):
        return "first run"
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return f"configuration changed: {', '.join(keys)}" if keys else ""


def _digest(value: object) -> str:
    return files.digest(json.dumps(value, sort_keys=True, default=_plain))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"changed() cannot digest {value!r}")
