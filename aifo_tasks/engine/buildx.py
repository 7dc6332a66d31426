"""Builds by the engine's own BuildKit through ``docker buildx``; by ``podman build`` there."""

from __future__ import annotations

import collections
import re

from aifo_tasks import log, process
from aifo_tasks.engine import dialect, preview
from aifo_tasks.engine.api import BuildSpec, Progress
from aifo_tasks.errors import AifoError, EngineError, ProcessError

_STEP = re.compile(r"#\d+ \[(?:\S+ )?(\d+/\d+)\] (.*)")
_OUTPUT = re.compile(r"#\d+ \d+\.\d+ (.*)")
_ERROR = re.compile(r"#\d+ (ERROR: .*)")
_EXPORT = re.compile(r"#\d+ exporting to image")
_PODMAN_STEP = re.compile(r"STEP (\d+/\d+): (.*)")
_NOISE = re.compile(r"#\d+ |--> |-+$|COMMIT |Successfully tagged |[0-9a-f]{64}$")
_EXCERPT = re.compile(r"Dockerfile:\d+|-{20}| *\d+ \| .*")
"""BuildKit's last lines show the step that failed: a long one would leave no place for why."""
_MISSING_CLIENT = {
    "docker": "apt-get install docker-cli docker-buildx",
    "podman": "apt-get install podman",
}
_MISSING_BUILDX = "apt-get install docker-buildx || apt-get install docker-buildx-plugin"


def build(spec: BuildSpec, client: preview.Argv, progress: Progress) -> bool:
    """Build and load an image; False when a dry run left it out.

    Raises EngineError with the last lines of the build, or when the client program or its
    buildx plugin is missing.
    """
    argv = preview.build_argv(spec, client)
    text = dialect.dockerfile(spec.dockerfile) if client[0] == "podman" else spec.dockerfile
    if not log.command(preview.build_text(argv, text)):
        return False
    require(client)
    try:
        run(argv, text, progress)
    except ProcessError as error:
        raise EngineError(
            spec.tag, f"the build failed with {error.problem}", hint=error.hint
        ) from None
    return True


def run(argv: preview.Argv, dockerfile: str, progress: Progress) -> None:
    """Run a build whose Dockerfile comes by standard input.

    Raises ProcessError with its last lines, but for those that repeat the Dockerfile.
    """
    last: collections.deque[str] = collections.deque(maxlen=process.TAIL_LINES)

    def show(line: str) -> None:
        if not _EXCERPT.fullmatch(line):
            last.append(line)
        if short := readable(line):
            progress(short)

    try:
        process.stream(argv, show, data=dockerfile.encode())
    except ProcessError as error:
        raise ProcessError(argv, error.status, "\n".join(last)) from None


def readable(line: str) -> str:
    """What of a line of a build's plain output is worth showing; "" when nothing is."""
    for pattern in (_STEP, _PODMAN_STEP):
        if found := pattern.fullmatch(line):
            return f"{found[1]} {found[2]}"
    for pattern in (_OUTPUT, _ERROR):
        if found := pattern.fullmatch(line):
            return found[1].strip()
    if _EXPORT.fullmatch(line):
        return "exporting the image"
    return "" if _NOISE.match(line) else line.strip()


def require(client: preview.Argv) -> None:
    """EngineError when the client program or its buildx plugin is missing."""
    name = client[0]
    question = [name, "--version"] if name == "podman" else [name, "buildx", "version"]
    try:
        answer = process.run(question, check=False)
    except AifoError:
        raise EngineError(
            name, "is needed to build images and is not installed", hint=_MISSING_CLIENT[name]
        ) from None
    if answer.status != 0:
        raise EngineError(
            "docker buildx", "is needed to build images and is not installed",
            hint=_MISSING_BUILDX,
        )  # fmt: skip
