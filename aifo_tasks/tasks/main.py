"""The ``aifo`` command: doit, in the project the user stands in, with our loader."""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

from aifo_tasks.config import roots
from aifo_tasks.errors import AifoError, UsageError


def main(words: Sequence[str] | None = None) -> int:
    """Run the words of a command line (this process's own by default); the exit status."""
    words = sys.argv[1:] if words is None else list(words)
    try:
        status = _run(words)
        if sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        from aifo_tasks.tasks import output  # only where writing has failed

        refused = output.ended(error, "aifo")
        if refused is None:
            raise
        return refused
    return status


def _run(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        from aifo_tasks import __version__

        sys.stdout.write(f"aifo-tasks {__version__}\n")
        return 0
    try:
        directory = _current_directory()
        os.chdir(project_root(directory))
        with _light():
            from doit.doit_cmd import DoitMain

            from aifo_tasks.tasks.loader import ProjectLoader
        loader = ProjectLoader(words=words, directory=directory)
        status: int = DoitMain(loader).run(words)
        return status
    except AifoError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def project_root(directory: Path) -> Path:
    """The nearest directory upwards with a project's file, else ``directory`` itself.

    A dodo.py is code: one that belongs to neither this user, nor root, nor the owner of
    ``directory`` raises UsageError instead of being run.
    """
    for candidate in (directory, *directory.parents):
        found = [candidate / name for name in roots.MARKERS if (candidate / name).is_file()]
        if settings := roots.settings(candidate):
            found.append(settings)
        for path in found:
            owner = path.stat().st_uid
            if owner not in (0, os.getuid(), directory.stat().st_uid):
                raise UsageError(
                    str(path), "belongs to another user and is not run",
                    hint=f"cd into a project of your own, or read {path} and copy it",
                )  # fmt: skip
        if found:
            return candidate
    return directory


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError(".", "the current directory is gone", hint="cd ~") from None


@contextlib.contextmanager
def _light() -> Iterator[None]:
    """Keep away, while doit is imported, what it imports and never uses on our way.

    That is a third of its time: plugins of installed packages (those that pyproject.toml
    names are found without), processes for tasks (ours run in threads) and the debugger's
    prompt. The real modules can be imported again afterwards.
    """
    stubs: dict[str, dict[str, object]] = {
        "importlib.metadata": {"entry_points": lambda **_: ()},
        "multiprocessing": {"Process": None, "Queue": None},
    }
    missing = {name: names for name, names in stubs.items() if name not in sys.modules}
    for name, names in missing.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(names)
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main())
