"""Running tasks: exit status, threads, signals, and a database that is always saved."""

from __future__ import annotations

import contextlib
import queue
import shlex
import threading
from collections import deque
from typing import Any

from doit import cmd_run
from doit.action import CmdAction, PythonAction
from doit.exceptions import (
    BaseFail,
    InvalidCommand,
    InvalidTask,
    TaskError,
    TaskFailed,
    UnmetDependency,
)
from doit.runner import Runner

from aifo_tasks import log, process
from aifo_tasks.errors import AifoError
from aifo_tasks.tasks import signals, variables
from aifo_tasks.tasks.actions import ToolAction, ToolFailed, failure

_LOOK_UP_SECONDS = 0.5


class SerialRunner(Runner):
    """One task after the other; doit's exit status is the first failed task's."""

    exit_code = 0

    def run_all(self, task_dispatcher: Any) -> int:
        _configure_log(task_dispatcher)
        with signals.raised():
            try:
                super().run_all(task_dispatcher)
            except signals.Stopped as stop:
                return 128 + stop.signum
        return self.exit_code or int(self.final_result)

    def run_tasks(self, task_dispatcher: Any) -> None:
        try:
            self._run_tasks(task_dispatcher)
        except signals.Stopped as stop:
            signals.end_children(stop.signum)
            raise

    def _run_tasks(self, task_dispatcher: Any) -> None:
        super().run_tasks(task_dispatcher)

    def select_task(self, node: Any, tasks_dict: Any) -> bool:
        if node.run_status is not None and node.bad_deps:
            # stock doit runs a task under -c although its setup failed
            names = " ".join(bad.task.name for bad in node.bad_deps)
            self._handle_task_error(node, UnmetDependency(names))
            return False
        try:
            return bool(super().select_task(node, tasks_dict))
        except AifoError as error:  # an up-to-date check could not ask
            self._handle_task_error(node, failure(error))
            return False

    def execute_task(self, task: Any) -> BaseFail | None:
        self._announce(task)
        return self._perform(task)

    def _announce(self, task: Any) -> None:
        if task.teardown and not log.is_dry_run():
            self.teardown_list.append(task)
        self.reporter.execute_task(task)

    def _perform(self, task: Any) -> BaseFail | None:
        """Run the actions; in a dry run doit's own, which know of none, are only printed."""
        if log.is_dry_run() and not all(isinstance(a, ToolAction) for a in task.actions):
            for action in task.actions:
                log.command(_shell_text(action))
            return None
        fail: BaseFail | None = task.execute(self.stream)
        return fail

    def process_task_result(self, node: Any, base_fail: BaseFail | None) -> None:
        if base_fail is None and log.is_dry_run():
            node.run_status = "successful"  # nothing was done: nothing is recorded
            self.reporter.add_success(node.task)
            return
        super().process_task_result(node, base_fail)

    def _handle_task_error(self, node: Any, base_fail: BaseFail) -> None:
        super()._handle_task_error(node, base_fail)
        if not self.exit_code:
            ordinary = 1 if isinstance(base_fail, TaskFailed) else 2
            tool = isinstance(base_fail, ToolFailed)
            self.exit_code = base_fail.exit_code if tool else ordinary

    def finish(self) -> int:
        try:
            self.dep_manager.close()
        except InvalidCommand as error:
            log.warn("nothing was recorded", str(error))
        finally:
            try:
                self.teardown()
            finally:
                self.reporter.complete_run()
        return int(self.final_result)


class ThreadRunner(SerialRunner):
    """Up to ``num_process`` tasks at once, each in a thread.

    Selecting, recording, reporting and teardown stay in the main thread, and so does a task
    with an interactive action: only there can it handle signals, and it has the terminal.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        *rest, self._most = args
        super().__init__(*rest, **options)
        self._finished: queue.SimpleQueue[tuple[Any, BaseFail | BaseException | None]] = (
            queue.SimpleQueue()
        )
        self._threads: dict[str, threading.Thread] = {}
        self._capturing = threading.Lock()

    def _run_tasks(self, task_dispatcher: Any) -> None:
        processed: deque[Any] = deque()  # nodes the dispatcher has not been told about
        exhausted = False
        try:
            while not exhausted or self._threads:
                if not exhausted and not self._stop_running and len(self._threads) < self._most:
                    try:
                        done = processed.popleft() if processed else None
                        node = task_dispatcher.generator.send(done)
                    except StopIteration:
                        exhausted = True
                        continue
                    if node != "hold on":
                        chosen = self.select_task(node, task_dispatcher.tasks)
                        if not chosen or not self._started(node):
                            processed.append(node)
                        continue
                    if processed:
                        continue
                if not self._threads:
                    if self._stop_running:
                        return
                    raise InvalidTask("these tasks wait for one another")
                processed.append(self._collected())
        except signals.Stopped as stop:
            signals.end_children(stop.signum)
            process.kill_all()
            for thread in self._threads.values():
                thread.join(signals.GRACE_SECONDS)
            raise

    def _started(self, node: Any) -> bool:
        """Start a thread for the task, or run it here and return False."""
        task = node.task
        if any(isinstance(action, ToolAction) and action.interactive for action in task.actions):
            self.process_task_result(node, self.execute_task(task))
            return False
        self._announce(task)
        thread = threading.Thread(target=self._work, args=(node,), name=task.name, daemon=True)
        self._threads[task.name] = thread
        thread.start()
        return True

    def _work(self, node: Any) -> None:
        # doit's Python actions replace sys.stdout for the whole process
        alone = any(isinstance(action, PythonAction) for action in node.task.actions)
        result: BaseFail | BaseException | None
        try:
            with self._capturing if alone else contextlib.nullcontext():
                result = self._perform(node.task)
        except BaseException as error:  # noqa: BLE001  # raised again in the main thread
            result = error
        self._finished.put((node, result))

    def _collected(self) -> Any:
        node, result = self._next_finished()
        self._threads.pop(node.task.name).join()
        if isinstance(result, Exception):
            result = TaskError(f"{node.task.name}: a bug", result)
        elif isinstance(result, BaseException):
            raise result
        self.process_task_result(node, result)
        return node

    def _next_finished(self) -> tuple[Any, BaseFail | BaseException | None]:
        """Looks up now and then: a signal that another thread took is raised in this one, but
        does not wake it."""
        while True:
            with contextlib.suppress(queue.Empty):
                return self._finished.get(timeout=_LOOK_UP_SECONDS)


class ProcessRunner(ThreadRunner):
    """What ``-P process`` gets: threads, and a sentence that says so."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        log.warn("-P process", "tasks run in threads: processes would lose exit status")

    @staticmethod
    def available() -> bool:
        return True


def install() -> None:
    """Make doit's run command use these runners.

    It looks the names up when it starts to run; a loader named in pyproject.toml has no
    other way to a command that doit has made already.
    """
    cmd_run.Runner = SerialRunner
    cmd_run.MThreadRunner = ThreadRunner
    cmd_run.MRunner = ProcessRunner


def _shell_text(action: Any) -> str:
    if not isinstance(action, CmdAction):
        return f"# {action}"
    command = action.expand_action()
    return command if isinstance(command, str) else shlex.join(command)


def _configure_log(task_dispatcher: Any) -> None:
    """A dry run asked for on any task is one for all: what it depends on must not run."""
    chosen = [task_dispatcher.tasks[name].options or {} for name in task_dispatcher.selected_tasks]
    log.configure(
        dry_run=variables.flag("DRY_RUN") or any(options.get("dry_run") for options in chosen),
        verbose=variables.flag("VERBOSE") or any(options.get("verbose") for options in chosen),
    )
