"""What a container needs to call a proxy: a directory with its socket, a token, and shims."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.model import SHIMS
from aifo_tasks.sidecar.identity import Owner
from aifo_tasks.value import dataclass

SOCKET = "toolexec.sock"
TOKEN_FILE = "token"  # noqa: S105  # a file's name
LINKS = "bin"


def variables(url: str, directory: str) -> dict[str, str]:
    """What tells shims to call ``url`` with the token in the container's ``directory``.

    Existing images know the names with a double E.
    """
    return {
        f"{prefix}_{name}": value
        for prefix in ("AIFO_TOOLEEXEC", "AIFO_TOOLEXEC")
        for name, value in (("URL", url), ("TOKEN_FILE", f"{directory}/{TOKEN_FILE}"))
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One client's way to a proxy: a directory on this machine that it has mounted.

    ``owner`` is the user it runs as, the only one who can read ``token``; ``tools`` are those
    it finds as links to the shim among its programs.
    """

    directory: Path
    token: str
    owner: Owner
    tools: tuple[str, ...] = ()

    @property
    def socket(self) -> Path:
        return self.directory / SOCKET

    @property
    def token_file(self) -> Path:
        return self.directory / TOKEN_FILE

    @property
    def text(self) -> str:
        """A shell command that makes a token where this one would be."""
        path = shlex.quote(str(self.token_file))
        made = f"(umask 077 && od -An -v -tx1 -N 32 /dev/urandom | tr -d ' \\n' > {path})"
        return made if self._is_ours else f"{made} && chown {self.owner.text} {path}"

    @property
    def _is_ours(self) -> bool:
        return (self.owner.uid, self.owner.gid) == (os.getuid(), os.getgid())

    def lay_out(self) -> None:
        """Make everything but the socket, where the directory's parent is."""
        self.directory.mkdir(mode=0o755, exist_ok=True)
        self.directory.chmod(0o755)
        files.write_quietly(self.token_file, self.token.encode())
        if not self._is_ours:
            os.chown(self.token_file, self.owner.uid, self.owner.gid)
        links = self.directory / LINKS
        if self.tools:
            links.mkdir(mode=0o755, exist_ok=True)
        for tool in self.tools:
            with contextlib.suppress(FileExistsError):
                (links / tool).symlink_to(f"{SHIMS}/aifo-shim")

    def remove(self) -> None:
        """Take all of that away, and the socket; the directory stays for who has it mounted."""
        for path in (self.socket, self.token_file):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.directory / LINKS, ignore_errors=True)
