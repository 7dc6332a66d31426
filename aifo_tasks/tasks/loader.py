"""Loads our creators and the project's dodo.py, and takes doit's command line over.

Used by the ``aifo`` script and by ``[tool.doit] loader = "aifo"``.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import doit.loader
from doit import cmd_help, doit_cmd, plugin
from doit.cmd_base import Command, DodoTaskLoader, NamespaceTaskLoader
from doit.cmdparse import CmdOption, CmdParseError, TaskParse
from doit.exceptions import InvalidTask

from aifo_tasks.errors import AifoError, UsageError
from aifo_tasks.tasks import CREATORS, project, run, variables
from aifo_tasks.tasks.actions import Tail, ToolAction, sentence
from aifo_tasks.tasks.db import ContentChecker

PLUGINS = {
    "BACKEND": "aifo_tasks.tasks.db:SharedDB",
    "REPORTER": "aifo_tasks.tasks.reporter:StatusReporter",
}
DEFAULTS = {
    "backend": "aifo",
    "reporter": "aifo",
    "dep_file": ".aifo/doit.db",
    "check_file_uptodate": ContentChecker,
    "par_type": "thread",
}
"""doit's settings where neither pyproject.toml, dodo.py nor the command line has others."""

HELP = ("-h", "--help")

_parse_execute = Command.parse_execute
_describe = cmd_help.Help._execute  # noqa: SLF001


class ProjectLoader(NamespaceTaskLoader):
    """Tasks of ``creators`` and of the dodo.py, if there is one, which wins.

    ``words`` is the command line without the program's name, ``directory`` where the user
    stands, if that is not the current directory; ``creators`` maps a module's full name to
    its creators' names.
    """

    cmd_options = DodoTaskLoader.cmd_options

    def __init__(
        self,
        *,
        words: Sequence[str] | None = None,
        directory: Path | None = None,
        creators: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.namespace: dict[str, Any] = {}
        self._words = list(sys.argv[1:] if words is None else words)
        self._directory = directory or Path.cwd()
        self._creators = _shipped() if creators is None else creators
        self._tail: Tail | None = None
        self._tasks: dict[str, Any] = {}

        # doit makes the loader before it looks at the words, and the commands before that:
        # the one place from which a loader reaches the words is the class
        def process_args(main: Any, words: Sequence[str]) -> list[str]:
            return self.take(main, words)

        doit_cmd.DoitMain.process_args = process_args
        Command.parse_execute = _executed
        cmd_help.Help._execute = _described  # noqa: SLF001
        run.install()

    def take(self, main: Any, words: Sequence[str]) -> list[str]:
        """Cut the tail off and the variables out; returns the words doit may parse.

        doit calls it with what is left when options of the loader stood first, and has then
        swallowed a ``--`` that came next.
        """
        for kind, location in PLUGINS.items():
            main.config[kind].setdefault("aifo", location)
        for name, value in DEFAULTS.items():
            main.config["GLOBAL"].setdefault(name, value)
        if not _chooses_plugin(words):
            # ours are named above; doit would read every installed package's entry points
            plugin.entry_points_impl = lambda: lambda **_: ()
        before = self._words[: len(self._words) - len(words)]
        if before and before[-1] == "--":
            words = ["--", *words]
        head = list(words)
        if "--" in head:
            cut = head.index("--")
            head, self._tail = head[:cut], Tail(head[cut + 1 :])
        return _without_variables(["help"] if head[:1] and head[0] in HELP else head)

    def help(self, command: Any, words: Sequence[str]) -> int | None:
        """Show the help that ``-h`` asks for: on the task before it, else on the command.

        None where it is not asked for.
        """
        asked = next((number for number, word in enumerate(words) if word in HELP), None)
        if asked is None:
            return None
        named = [word for word in words[:asked] if word in self._tasks]
        if named:
            shown = cmd_help.Help(
                task_loader=self, config=command.config, bin_name=command.bin_name,
                cmds=plugin.PluginDict(),
            )  # fmt: skip
            shown.task_list = list(self._tasks.values())
            _described(shown, named[-1:])
        else:
            sys.stdout.write(command.help() + "\n")
        return 0

    def setup(self, opt_values: Mapping[str, Any]) -> None:
        """Import the dodo.py; it may be missing unless it was named."""
        file = opt_values["dodoFile"]
        chosen = self._directory / file
        default = file == "dodo.py"
        if not default and chosen.exists():
            file = str(chosen)
        if opt_values["seek_file"] or not default or Path(file).exists():
            try:
                module = doit.loader.get_module(
                    file, opt_values["cwdPath"], opt_values["seek_file"]
                )
            except AifoError as error:
                raise InvalidTask(sentence(error)) from None
            self.namespace = dict(inspect.getmembers(module))
        elif opt_values["cwdPath"]:
            os.chdir(opt_values["cwdPath"])
        doit.loader.initial_workdir = str(self._directory)

    def load_tasks(self, cmd: Any, pos_args: list[str]) -> list[Any]:
        try:
            if "" in pos_args:
                raise UsageError("''", "an empty word names no task")
            shipped = self._take_ours()
            own = super().load_tasks(cmd, pos_args)
            tasks = [*own, *self._made(shipped)]
            tasks += self._asked(shipped, {task.name for task in tasks}, pos_args)
            self._tasks = {task.name: task for task in tasks}
            _check_variables(tasks)
            if cmd.execute_tasks:
                _hand_over(tasks, pos_args, self._tail, cmd.bin_name)
                if cmd.sel_tasks is None:
                    cmd.sel_tasks = _default(own, cmd.bin_name)
            elif self._tail is not None:
                raise UsageError(cmd.name, "takes nothing after --")
        except AifoError as error:
            raise InvalidTask(sentence(error)) from None
        return tasks

    def _take_ours(self) -> dict[str, Any]:
        """Creators to call, by name; takes those that dodo.py imported out of its names.

        A creator that dodo.py imported under another name keeps that name, and one of its
        own that has the name of ours replaces it.
        """
        ours = {
            name: getattr(importlib.import_module(module), name)
            for module, names in self._creators.items()
            for name in names
        }
        imported = {
            inspect.unwrap(value): name
            for name, value in self.namespace.items()
            if inspect.isfunction(value) and inspect.unwrap(value) in ours.values()
        }
        for name in imported.values():
            del self.namespace[name]
        return {
            imported.get(creator, name): creator
            for name, creator in ours.items()
            if creator in imported or name not in self.namespace
        }

    def _made(self, creators: Mapping[str, Any]) -> list[Any]:
        """doit's own way reads each creator's source file for the order, which ours have."""
        tasks: list[Any] = []
        for function, creator in creators.items():
            name = function.removeprefix(doit.loader.TASK_STRING)
            tasks += doit.loader.generate_tasks(name, creator(), creator.__doc__)
        return self._configured(tasks)

    def _asked(
        self, creators: Mapping[str, Any], known: set[str], words: Sequence[str]
    ) -> list[Any]:
        """A task made from the exact word, for each that names a toolchain otherwise than our
        tasks do: ``toolchain:rust@1.85``. It belongs to no group."""
        tasks: list[Any] = []
        for word in words:
            group, colon, rest = word.partition(":")
            creator = creators.get(doit.loader.TASK_STRING + group)
            if not colon or word in known or creator is None:
                continue
            with project.asking(rest):
                made = doit.loader.generate_tasks(group, creator(), creator.__doc__)
            for task in made:
                if task.name == word:
                    task.subtask_of = None
                    tasks.append(task)
                    known.add(word)
        return self._configured(tasks)

    def _configured(self, tasks: list[Any]) -> list[Any]:
        for task in tasks:
            task.cfg_values = (self.config or {}).get(f"task:{task.name}")
        return tasks


def _executed(command: Any, words: list[str]) -> int | None:
    """doit's way from the words to the exit status, and what it leaves to Python: help that is
    asked for by an option, and an output that takes no more."""
    try:
        try:
            status: int | None = _parse_execute(command, words)
        except CmdParseError:
            loader = getattr(command, "loader", None)
            status = loader.help(command, words) if isinstance(loader, ProjectLoader) else None
            if status is None:
                raise
        if sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        from aifo_tasks.tasks import output  # only where writing has failed

        status = output.ended(error, f"{command.bin_name} {command.name}")
        if status is None:
            raise
    return status


def _described(command: Any, pos_args: list[str]) -> bool:
    """doit's help on a task; on a group, which has no options, also where those are told."""
    found = bool(_describe(command, pos_args))
    task = next((task for task in command.task_list if task.name == pos_args[0]), None)
    below = [each for each in command.task_list if each.subtask_of == pos_args[0]]
    if task is not None and not task.params and below:
        sys.stdout.write(f"  on a subtask: {command.bin_name} help {below[0].name}\n")
    return found


def _chooses_plugin(words: Sequence[str]) -> bool:
    """True when the command line names a reporter or a backend, which a package may bring."""
    return any(word.startswith(("-r", "--reporter", "--backend")) for word in words)


def _shipped() -> dict[str, Sequence[str]]:
    return {f"aifo_tasks.tasks.{module}": names for module, names in CREATORS.items()}


def _without_variables(words: Sequence[str]) -> list[str]:
    """Set doit's variables; ``--option kind=value`` is an option's value and stays."""
    doit_cmd.reset_vars()
    left: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        after_option = bool(left) and left[-1].startswith("-") and "=" not in left[-1]
        if equals and not word.startswith("-") and not (after_option and not name.isupper()):
            doit_cmd.set_var(name, value)
        else:
            left.append(word)
    return left


def _check_variables(tasks: Sequence[Any]) -> None:
    """A typo in a variable, or an image in a task's name, must not pass silently."""
    names = {task.name for task in tasks}
    for name in variables.given():
        if name in names or ":" in name:
            raise UsageError(
                name, "a task's name ends before '='",
                hint=f"NAME=value sets a variable; {name} takes its options as --option",
            )  # fmt: skip
    variables.check(variables.given())


def _hand_over(tasks: Sequence[Any], words: list[str], tail: Tail | None, program: str) -> None:
    """Give the tail to the one task that takes it: the last one named."""
    by_name = {task.name: task for task in tasks}
    named = list(_named(by_name, words))
    takers = [name for name in named if name in by_name and by_name[name].pos_arg is not None]
    for name in takers:
        if _ours(by_name[name]):
            by_name[name].pos_arg_val = Tail()
    if tail is None:
        for name, word in itertools.pairwise(named):
            if name in takers and _ours(by_name[name]) and word not in by_name and "*" not in word:
                raise UsageError(
                    word, "is not a task; a command stands after --",
                    hint=f"{program} {name} -- {word}",
                )  # fmt: skip
        return
    targets = {target for task in tasks for target in task.targets}
    for name in named:
        if name not in by_name and name not in targets and "*" not in name:
            raise UsageError(name, "no such task", hint=_near(name, by_name, program))
    if not takers or len(takers) > 1 or takers[-1] != named[-1]:
        raise UsageError(
            "-- " + shlex.join(tail), _why_not(named, takers), hint=_hint(named, by_name, program)
        )
    by_name[takers[0]].pos_arg_val = tail if _ours(by_name[takers[0]]) else list(tail)


def _why_not(named: Sequence[str], takers: Sequence[str]) -> str:
    if not named:
        return "no task is named that takes a command"
    if not takers:
        return f"{named[-1]} takes no command"
    if len(takers) > 1:
        return f"{' and '.join(takers)} cannot both take it"
    return f"{takers[0]} takes it and must be the last task"


def _hint(named: Sequence[str], by_name: Mapping[str, Any], program: str) -> str:
    group = f"{named[-1]}:" if named else ""
    fitting = [
        name for name, task in by_name.items() if task.pos_arg and name.startswith(group)
    ] or [name for name, task in by_name.items() if task.pos_arg]
    return f"{program} {fitting[0]} -- COMMAND" if fitting else f"{program} list --all"


def _near(name: str, by_name: Mapping[str, Any], program: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, by_name, n=1)
    return f"did you mean {close[0]}?" if close else f"{program} list --all"


def _named(by_name: Mapping[str, Any], words: list[str]) -> Iterator[str]:
    """The words that name tasks or targets; the rest are options of the task before."""
    left = list(words)
    while left:
        word = left.pop(0)
        yield word
        task = by_name.get(word)
        if task is not None:
            options = [CmdOption(option) for option in [*task.params, *task.creator_params]]
            _, left = TaskParse(options).parse(left)
            if task.pos_arg is not None and not _ours(task):
                return  # doit gives it all the rest


def _ours(task: Any) -> bool:
    return any(isinstance(action, ToolAction) for action in task.actions)


def _default(own: Sequence[Any], program: str) -> list[str]:
    """What runs when no task is named: the project's own tasks, never ours."""
    names = [task.name for task in own if task.subtask_of is None]
    if not names:
        raise UsageError(program, "no task is named", hint=f"{program} list")
    return names
