"""The notifications' command as another program's configuration names it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from aifo_tasks.errors import AifoError

_KEY = "notifications-command"


def command(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The words of ``notifications-command`` in the file that AIFO_NOTIFICATIONS_CONFIG names,
    else in ``~/.aider.conf.yml``; empty where there is none.

    The file is the user's own. Raises AifoError for one that cannot be read.
    """
    named = environ.get("AIFO_NOTIFICATIONS_CONFIG", "")
    path = Path(named).expanduser() if named else Path.home() / ".aider.conf.yml"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        if named:
            raise AifoError(str(path), "no such file") from None
        return ()
    except OSError as error:
        raise AifoError(str(path), f"cannot be read: {error.strerror}") from None
    value = _value(path, text)
    if value is None:
        return ()
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise AifoError(str(path), f"{_KEY}: {error}".lower()) from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise AifoError(str(path), f"{_KEY}: expected a list of words, or text")
    return tuple(words)


def _value(path: Path, text: bytes) -> object:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if _KEY.encode() not in text:
        return None
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise AifoError(str(path), f"is no YAML: {str(error).splitlines()[0]}") from None
    return data.get(_KEY) if isinstance(data, dict) else None
