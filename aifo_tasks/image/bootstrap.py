"""A base image made from the Debian archive, for machines that reach no image registry."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from aifo_tasks import files, log, process
from aifo_tasks.engine.api import Engine, ImageState, ImportSpec
from aifo_tasks.errors import AifoError, ProcessError
from aifo_tasks.model import Bootstrap

DEBIAN_MIRROR = "AIFO_DEBIAN_MIRROR"
"""The variable that names another archive than Debian's own."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
VERSION = "1"
"""Raised when the same declaration is made into another root file system."""

_ARCHITECTURES = {
    "386": "i386", "amd64": "amd64", "arm": "armhf", "arm64": "arm64",
    "ppc64le": "ppc64el", "riscv64": "riscv64", "s390x": "s390x",
}  # fmt: skip


def ensure(
    engine: Engine,
    bootstrap: Bootstrap,
    platforms: tuple[str, ...] = (),
    *,
    subject: str,
    consent: bool = False,
) -> tuple[str, ImageState, str]:
    """The reference and state of the imported root file system, and in words where it is from.

    For ``platforms`` besides the engine's own it is one image of them all. ``consent`` allows
    mmdebstrap to be installed. Raises AifoError when it cannot be made.
    """
    platforms = platforms or (engine.info().platform,)
    tag = reference(bootstrap, *platforms)
    name = tag.partition(":")[2]
    state = engine.image(tag)
    if state is not None:
        return tag, state, f"{tag} was in the engine"
    with alone(f"base-{name}", subject):
        state = engine.image(tag)
        if state is not None:
            return tag, state, f"{tag} was in the engine"
        log.step(subject, f"making the base {tag} from the Debian archive")
        _require(consent=consent)
        with contextlib.ExitStack() as stack:
            roots = []
            for platform in platforms:
                architecture = architecture_of(platform)
                root = stack.enter_context(_scratch(f"{name}-{architecture}.tar"))
                _make_root(command(bootstrap, architecture, _mirror(), root), subject)
                roots.append((platform, root))
            state = _imported(engine, tag, roots)
    return tag, state, f"{tag} was made from the Debian archive"


def reference(bootstrap: Bootstrap, *platforms: str) -> str:
    """The name that a root file system, imported for these platforms, has in the engine."""
    key = files.digest(
        VERSION, bootstrap.suite, bootstrap.variant, *sorted(bootstrap.include),
        *sorted(map(architecture_of, platforms)), _mirror(),
    )  # fmt: skip
    return f"aifo-base:{bootstrap.suite}-{key[:12]}"


def _mirror() -> str:
    return os.environ.get(DEBIAN_MIRROR, "").strip()


def command(bootstrap: Bootstrap, architecture: str, mirror: str, archive: Path) -> tuple[str, ...]:
    """The mmdebstrap command that writes the root file system to ``archive``.

    Without a mirror it takes Debian's own and adds the suite's updates and security updates.
    """
    include = (f"--include={','.join(bootstrap.include)}",) if bootstrap.include else ()
    return (
        "mmdebstrap",
        f"--variant={bootstrap.variant}",
        *include,
        f"--architectures={architecture}",
        f"--keyring={KEYRING}",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        bootstrap.suite,
        str(archive),
        *((mirror,) if mirror else ()),
    )


@contextlib.contextmanager
def alone(name: str, subject: str) -> Iterator[None]:
    """Keep other processes of this user from doing the same work at the same time."""
    if log.is_dry_run():
        yield
        return
    with files.locked(
        files.run_dir() / f"{name}.lock",
        on_wait=lambda: log.step(subject, "waiting for another process that makes it"),
    ):
        yield


def _require(*, consent: bool) -> None:
    from aifo_tasks.engine import packages

    packages.ensure_program("mmdebstrap", consent=consent)
    if not KEYRING.is_file() and not log.is_dry_run():
        raise AifoError(
            str(KEYRING), "Debian's keyring is missing",
            hint="apt-get install -y debian-archive-keyring",
        )  # fmt: skip


@contextlib.contextmanager
def _scratch(name: str) -> Iterator[Path]:
    """A file that is gone afterwards: the engine has its content then, and another engine makes
    its own in less time than keeping it is worth."""
    path = files.cache_dir() / "base" / name
    files.make_directory(path.parent)
    try:
        yield path
    finally:
        if log.command(f"rm -f {shlex.quote(str(path))}"):
            path.unlink(missing_ok=True)


def _make_root(argv: tuple[str, ...], subject: str) -> None:
    if not log.command(f"SOURCE_DATE_EPOCH=0 {shlex.join(argv)}"):
        return
    try:
        process.stream(
            argv,
            lambda line: log.progress(subject, line),
            environment={"SOURCE_DATE_EPOCH": "0"},
        )
    except ProcessError as error:
        raise AifoError("mmdebstrap", complaint(error.tail)) from None


def _imported(engine: Engine, tag: str, roots: list[tuple[str, Path]]) -> ImageState:
    """The root file systems as one image of the engine's."""
    (platform, root), *more = roots
    if not more and platform == engine.info().platform:
        return engine.import_image(ImportSpec(archive=root, tag=tag))
    from aifo_tasks.image import oci  # and with it tarfile, which no up-to-date image needs

    with _scratch(f"{tag.partition(':')[2]}.oci.tar") as archive:
        if not log.is_dry_run():
            oci.write(archive, f"docker.io/library/{tag}", roots)
        return engine.load(archive, tag)


def architecture_of(platform: str) -> str:
    name = platform.split("/")[1] if "/" in platform else platform
    if name not in _ARCHITECTURES:
        raise AifoError("Debian", f"has no architecture for {platform}")
    return _ARCHITECTURES[name]


def complaint(tail: str) -> str:
    """What mmdebstrap and apt call errors, else the last line."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "W:"))]
    return "; ".join(errors[-2:] or lines[-1:]) or "failed and said nothing"
