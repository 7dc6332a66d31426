"""One source file compiled and run in a container of its own, as its language declares."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aifo_tasks import files, log
from aifo_tasks.errors import AifoError, SidecarLostError
from aifo_tasks.model import HOME, PLACEHOLDERS, WORKSPACE, Config, Language, Limits, Toolchain
from aifo_tasks.session import ready, redirected
from aifo_tasks.session.workplace import Choices
from aifo_tasks.sidecar import sessions
from aifo_tasks.sidecar.identity import Owner, session_dir
from aifo_tasks.sidecar.plan import SYSTEM_PATH, Plan
from aifo_tasks.sidecar.record import Greeted
from aifo_tasks.toolexec import launcher
from aifo_tasks.value import dataclass

if TYPE_CHECKING:
    from aifo_tasks.engine.api import Engine

SECONDS = 30
MEMORY = 512 * 1024**2
"""What a language's factors are multiplied with."""

TIMED_OUT = 124

_OWNER = Owner(uid=65532, gid=65532)
_TEMPORARY = "/tmp"  # noqa: S108  # the container's
_BUILD = HOME
"""A tmpfs with exec that belongs to the container's user, outside the workspace."""

_PROCESSES = 512
_IDLE_SECONDS = 5
"""After this a container ends by itself whose starter was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A source file on this machine, its language, and the words after it."""

    language: Language
    source: Path
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Seconds for the compiler and for the program, bytes of memory, and bytes of each output
    (0: as much as comes)."""

    compiling: float
    seconds: float
    memory: int
    output: int = 0


def bounds(language: Language, *, seconds: float, memory: int, output: int) -> Bounds:
    """What was asked for; 0 seconds or bytes of memory mean the language's own limits.

    A compiler always has the language's time: that a program is short tells nothing of it.
    """
    usual = SECONDS * language.time
    return Bounds(
        compiling=max(usual, seconds),
        seconds=seconds or usual,
        memory=memory or int(MEMORY * language.memory),
        output=output,
    )


def command(language: Language, words: Sequence[str]) -> list[str]:
    """A declared command with its placeholders filled in and exactly the declared environment."""
    values = (f"{WORKSPACE}/{language.file}", WORKSPACE, _BUILD)
    filled = list(words)
    for placeholder, value in zip(PLACEHOLDERS, values, strict=True):
        filled = [word.replace(placeholder, value) for word in filled]
    variables = {"PATH": SYSTEM_PATH, "HOME": _TEMPORARY, "TMPDIR": _TEMPORARY}
    variables |= dict(language.environment)
    return ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *filled]


def run(config: Config, program: Program, allowed: Bounds, choices: Choices) -> int:
    """Compile and run it on this process's own streams; returns its exit status.

    The compiler's status when that fails, then the program does not run; 124 when the time
    is over, whereupon the container and all in it are gone. Raises AifoError for what the
    user can mend.
    """
    from aifo_tasks.image import build
    from aifo_tasks.registry import references

    toolchain = _toolchain(program.language, allowed)
    engine = ready.connect(consent=choices.consent)
    build.ensure(
        engine, toolchain,
        prefixes=references.prefixes(config.registry, os.environ, choices.registry),
        pull=choices.pull, no_cache=choices.no_cache, consent=choices.consent,
    )  # fmt: skip
    subject = f"run_code {program.language.code}"
    with contextlib.ExitStack() as stack:
        if allowed.output:
            warn = functools.partial(log.warn, subject)
            stack.enter_context(redirected.cut(allowed.output, warn))
        ended = _contained(engine, toolchain, _steps(program, allowed), program)
    if isinstance(ended, _Step):
        what = "compiling ended" if ended.compiles else "ended"
        log.warn(subject, f"{what} after {ended.seconds:g} s")
        return TIMED_OUT
    return ended


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A command of a run, and the seconds it may take."""

    argv: Sequence[str]
    seconds: float
    compiles: bool = False

    def streams(self) -> contextlib.AbstractContextManager[None]:
        """What a compiler says is on stderr, and it reads nothing."""
        return redirected.diagnostics() if self.compiles else contextlib.nullcontext()


def _steps(program: Program, allowed: Bounds) -> list[_Step]:
    language = program.language
    argv = [*command(language, language.run), *program.arguments]
    steps = [_Step(argv=argv, seconds=allowed.seconds)]
    if language.compile:
        argv = command(language, language.compile)
        steps.insert(0, _Step(argv=argv, seconds=allowed.compiling, compiles=True))
    return steps


def _contained(
    engine: Engine, toolchain: Toolchain, steps: Sequence[_Step], program: Program
) -> int | _Step:
    """The exit status of the first step that fails, or the last one's, in a container that is
    gone afterwards; or the step whose time was over."""
    with sessions.opened() as session, _source(program, session) as directory:
        plan = _plan(toolchain, directory, session)
        with _container(engine, plan) as greeted:
            if greeted is None:
                _preview(plan, steps)
                return 0
            for step in steps:
                with _Ending(lambda: engine.remove_container(plan.name), step.seconds) as ending:
                    try:
                        status = _call(greeted, step)
                    except SidecarLostError:
                        if ending.over:
                            return step
                        raise
                if status:
                    break
    return status


def _toolchain(language: Language, allowed: Bounds) -> Toolchain:
    """The language as a toolchain that nothing is installed in and that has no network."""
    limits = Limits(memory=allowed.memory, pids=_PROCESSES, idle_seconds=_IDLE_SECONDS)
    return Toolchain(
        kind=f"code-{language.code}", image=language.image, limits=limits, network="none"
    )


def _plan(toolchain: Toolchain, directory: Path, session: str) -> Plan:
    from aifo_tasks.image import recipe

    return Plan(
        toolchain=toolchain,
        inputs=recipe.inputs(toolchain.image),
        project=directory,
        session=session,
        owner=_OWNER,
        network="none",
        caller=os.getuid(),
        owned=True,
    )


@contextlib.contextmanager
def _source(program: Program, session: str) -> Iterator[Path]:
    """A directory that holds a copy of the source under the name its language wants."""
    directory = files.run_dir() / session
    copy = directory / "code" / program.language.file
    try:
        text = program.source.read_bytes()
    except OSError as error:
        problem = os.strerror(error.errno or 0).lower()
        raise AifoError(str(program.source), f"cannot be read: {problem}") from None
    if log.command(f"install -D -m 644 -- {shlex.quote(str(program.source))} {copy}"):
        session_dir(session)
        files.make_directory(copy.parent, mode=0o755)
        files.write_quietly(copy, text)
        copy.chmod(0o644)
    try:
        yield copy.parent
    finally:
        if log.command(f"rm -rf {directory}"):
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _container(engine: Engine, plan: Plan) -> Iterator[Greeted | None]:
    """The running container of a plan; removed with everything in it."""
    from aifo_tasks.sidecar import life

    try:
        greeted = life.ensure(engine, plan, {})
        with greeted.connection if greeted is not None else contextlib.nullcontext():
            yield greeted
    finally:
        engine.remove_container(plan.name)
        directory = files.run_dir() / plan.name
        if log.command(f"rm -rf {directory}"):
            shutil.rmtree(directory, ignore_errors=True)


class _Ending:
    """Calls ``end`` when the time is ``over``, unless it was left before."""

    def __init__(self, end: Callable[[], None], seconds: float) -> None:
        self.over = False
        self._end = end
        self._timer = threading.Timer(seconds, self._ends)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def _ends(self) -> None:
        self.over = True
        self._end()


def _call(greeted: Greeted, step: _Step) -> int:
    with step.streams():
        return launcher.attach(greeted.way.connect(), launcher.Call(argv=step.argv, cwd=WORKSPACE))


def _preview(plan: Plan, steps: Sequence[_Step]) -> None:
    from aifo_tasks.session.preview import print_call

    for step in steps:
        print_call(plan.name, step.argv, WORKSPACE, {})
