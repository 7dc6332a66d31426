"""Creators as a dodo.py imports them, for doit's own loader and command line."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from doit.exceptions import InvalidTask

from aifo_tasks import log
from aifo_tasks.errors import AifoError
from aifo_tasks.tasks.actions import inexact, sentence

Creator = Callable[[], Any]


@functools.cache
def exported(module: str, name: str) -> Creator:
    """The creator ``name`` of a module of this package, guarded for stock doit.

    Our own loader unwraps it again. An AifoError becomes doit's InvalidTask, which prints
    without a traceback; a command after ``--`` is refused, because doit has damaged it.
    """
    creator: Creator = getattr(importlib.import_module(f"aifo_tasks.tasks.{module}"), name)

    @functools.wraps(creator)
    def guarded() -> Any:
        try:
            _look_at_command_line(name.removeprefix("task_"))
            made = creator()
        except AifoError as error:
            raise InvalidTask(sentence(error)) from None
        return _translated(made) if inspect.isgenerator(made) else made

    return guarded


def _translated(generator: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from generator
    except AifoError as error:
        raise InvalidTask(sentence(error)) from None


def _look_at_command_line(task: str) -> None:
    words = sys.argv[1:]
    head = words[: words.index("--")] if "--" in words else words
    if head != words and any(word == task or word.startswith(f"{task}:") for word in head):
        raise inexact(task)
    if "--dry-run" in head:  # an option of one task; what that depends on must not run either
        log.configure(dry_run=True)
