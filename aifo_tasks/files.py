"""Files and directories: digests, atomic writes, locks, and paths nobody can redirect."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shlex
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from aifo_tasks import log
from aifo_tasks.errors import AifoError, UnsafePathError

_PACKAGE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """A file or directory that travels with the package, such as ``images/node``.

    In a wheel it lies in ``aifo_tasks/resources``, in a checkout beside the package.
    """
    installed = _PACKAGE / "resources" / name
    return installed if installed.exists() else _PACKAGE.parent / name


def digest(*parts: bytes | str) -> str:
    """SHA-256 over the parts and their lengths, as 64 hexadecimal digits."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "big"))
        sha.update(data)
    return sha.hexdigest()


def digest_tree(top: Path) -> str:
    """Digest of every file below ``top``: relative name, executable bit and content."""
    parts: list[bytes | str] = []
    for path in sorted(top.rglob("*")):
        if path.is_file():
            executable = "x" if os.access(path, os.X_OK) else "-"
            parts += [path.relative_to(top).as_posix(), executable, path.read_bytes()]
    return digest(*parts)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file so that every reader sees the old or the new content, never a part."""
    if not log.command(_here_document(path, data, mode)):
        return
    write_quietly(path, data, mode=mode)


def write_quietly(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """``write_atomically`` for caches and records that are no step of anybody's work.

    The OSError of what cannot be written names ``path``.
    """
    import tempfile  # slow to import, and a warm call writes nothing

    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        os.replace(name, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def make_directory(path: Path, *, mode: int = 0o700) -> None:
    """Make a directory of this user's own, parents included, unless it is there."""
    if path.is_dir():
        return
    if log.command(f"mkdir -p -m {mode:o} {shlex.quote(str(path))}"):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)


def run_dir() -> Path:
    """Where sockets, locks and records of this user live; private, made when missing.

    ``$XDG_RUNTIME_DIR/aifo``, else ``aifo-<uid>`` below the temporary directory. Raises
    UnsafePathError when somebody else made it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        path = Path(runtime) / "aifo"
    else:
        path = Path(os.environ.get("TMPDIR") or "/tmp") / f"aifo-{os.getuid()}"  # noqa: S108  # owner and mode are checked below
    make_directory(path)
    with contextlib.suppress(FileNotFoundError):  # a dry run makes nothing
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise UnsafePathError(str(path), "is not a directory of this user's own")
        if status.st_mode & 0o077:
            os.chmod(path, 0o700)
    return path


def cache_dir() -> Path:
    """Where what can be made again is kept: ``$XDG_CACHE_HOME/aifo`` or ``~/.cache/aifo``."""
    return _home_dir("XDG_CACHE_HOME", ".cache")


def config_dir() -> Path:
    """Where the user's approvals are kept: ``$XDG_CONFIG_HOME/aifo`` or ``~/.config/aifo``."""
    return _home_dir("XDG_CONFIG_HOME", ".config")


def state_dir() -> Path:
    """``$XDG_STATE_HOME/aifo``, made when missing: what must outlive a restart."""
    return _home_dir("XDG_STATE_HOME", ".local/state")


def _home_dir(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    base = Path(value) if value.startswith("/") else Path.home() / default
    return base / "aifo"


@contextlib.contextmanager
def locked(
    path: Path, *, on_wait: Callable[[], None] = lambda: None, shared: bool = False
) -> Iterator[int]:
    """Hold the host-wide lock at ``path``; yields its descriptor, open for reading.

    The lock belongs to the open file: a process that is handed the descriptor holds the
    lock too, until it ends. ``on_wait`` is called once when somebody else has it. Those who
    hold it ``shared`` keep out those alone who do not.
    """
    descriptor = _open_lock(path)
    try:
        if not _take(descriptor, shared=shared):
            on_wait()
            pause = threading.Event()
            while not _take(descriptor, shared=shared):  # a signal's handler runs meanwhile
                pause.wait(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the lock at ``path`` unless somebody has it; yields whether it is held."""
    descriptor = _open_lock(path)
    try:
        yield _take(descriptor, shared=False)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _take(descriptor: int, *, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_below(top: Path, relative: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """Open a path below ``top``, refusing every link on the way; returns a descriptor.

    Contained code can write the workspace: a link there could lead anywhere on the host.
    Raises UnsafePathError for a link, an absolute path or ``..``; OSError as ``os.open``.
    """
    parent, name = _parent_below(top, relative)
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent)
    except OSError as error:
        raise _translated(error, top, relative) from None
    finally:
        os.close(parent)


def read_below(top: Path, relative: str) -> bytes | None:
    """Content of a regular file below ``top``, or None when there is none; see open_below."""
    try:
        descriptor = open_below(top, relative, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsafePathError(str(top / relative), "is not a regular file")
        return file.read()


def make_directory_below(
    top: Path, relative: str, *, owner: tuple[int, int] | None = None, mode: int = 0o755
) -> bool:
    """Make one directory below ``top``, its parents being there; True when it was missing.

    ``owner`` is the uid and gid it gets when it is made. A link, or anything that is not a
    directory, raises UnsafePathError.
    """
    parent, name = _parent_below(top, relative)
    try:
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                return False
            kind = "a link" if stat.S_ISLNK(found.st_mode) else "not a directory"
            raise UnsafePathError(
                str(top / relative), f"is {kind}; a directory is needed here",
                hint=f"rm {shlex.quote(str(top / relative))}",
            )  # fmt: skip
        if not log.command(_install_directory(top / relative, owner, mode)):
            return False
        os.mkdir(name, mode, dir_fd=parent)
        descriptor = os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
        )
        try:
            os.fchmod(descriptor, mode)
            if owner is not None and owner != (os.getuid(), os.getgid()):
                os.fchown(descriptor, *owner)
        finally:
            os.close(descriptor)
        return True
    finally:
        os.close(parent)


def remove_empty_below(top: Path, relative: str) -> None:
    """Remove a directory below ``top`` if it is one and is empty."""
    try:
        parent, name = _parent_below(top, relative)
    except (FileNotFoundError, UnsafePathError):
        return
    try:
        with contextlib.suppress(OSError):
            if log.command(f"rmdir {shlex.quote(str(top / relative))}"):
                os.rmdir(name, dir_fd=parent)
    finally:
        os.close(parent)


def _parent_below(top: Path, relative: str) -> tuple[int, str]:
    parts = relative.split("/")
    if relative.startswith("/") or not all(parts) or {".", ".."} & set(parts):
        raise UnsafePathError(relative, "is not a plain path below the project")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts[:-1]:
        try:
            deeper = os.open(part, flags, dir_fd=descriptor)
        except OSError as error:
            raise _translated(error, top, relative) from None
        finally:
            os.close(descriptor)
        descriptor = deeper
    return descriptor, parts[-1]


def _translated(error: OSError, top: Path, relative: str) -> OSError | AifoError:
    """The kernel says ELOOP, or ENOTDIR for a link where a directory is asked for."""
    if error.errno == errno.ELOOP:
        return _link(top, relative)
    if error.errno == errno.ENOTDIR:
        path = top
        for part in relative.split("/"):
            path = path / part
            if path.is_symlink():
                return _link(top, relative)
    return error


def _link(top: Path, relative: str) -> UnsafePathError:
    return UnsafePathError(
        str(top / relative), "a link on this path may lead out of the project",
        hint="replace the link by what it points to",
    )  # fmt: skip


def _install_directory(path: Path, owner: tuple[int, int] | None, mode: int) -> str:
    argv = ["install", "-d", "-m", f"{mode:o}"]
    if owner is not None and owner != (os.getuid(), os.getgid()):
        argv += ["-o", str(owner[0]), "-g", str(owner[1])]
    return shlex.join([*argv, str(path)])


def _here_document(path: Path, data: bytes, mode: int) -> str:
    """A shell command that writes these bytes; text as a here-document, else base64."""
    target = shlex.quote(str(path))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        import base64  # only to print binary content

        text, decode = base64.b64encode(data).decode() + "\n", "base64 -d"
    else:
        decode = "cat"
    end = "" if text.endswith("\n") or not text else "\n"
    return (
        f"mkdir -p {shlex.quote(str(path.parent))} && "
        f"{decode} > {target} <<'AIFO_END'\n{text}{end}AIFO_END\nchmod {mode:o} {target}"
    )
