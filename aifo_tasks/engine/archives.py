"""What is in a volume as an archive, through a container that only mounts it."""

from __future__ import annotations

import base64
import contextlib
import gzip
import itertools
from collections.abc import Iterator

from aifo_tasks import log
from aifo_tasks.engine import preview
from aifo_tasks.engine.containers import Containers
from aifo_tasks.engine.failure import refused
from aifo_tasks.engine.volumes import Volumes
from aifo_tasks.errors import NotFoundError

_SHORT_ARCHIVE = 64 * 1024
"""Up to this size an archive is printed with the command that unpacks it."""


class Archives(Volumes, Containers):
    """What an ``Engine`` does with the content of volumes."""

    def read_archive(self, volume: str, image: str) -> Iterator[bytes]:
        if not log.command(preview.read_archive_text(volume, image, self._client)):
            return
        with self._archive_container(volume, image) as identifier, self._asking(volume):
            stream, _ = self._api.get_archive(identifier, f"{preview.ARCHIVE_TARGET}/.")
            yield from stream

    def write_archive(self, volume: str, image: str, archive: Iterator[bytes]) -> None:
        head = _head(archive)
        text = preview.write_archive_text(volume, image, self._client)
        if log.command(_fed(text, head)):
            with self._archive_container(volume, image) as identifier, self._asking(volume):
                self._put_archive(identifier, itertools.chain((head,), archive), volume)

    def _put_archive(self, identifier: str, stream: Iterator[bytes], volume: str) -> None:
        """What the SDK calls put_archive, and telling Podman to keep the owners."""
        answer = self._api.put(
            f"{self._api.base_url}/v{self._api.api_version}/containers/{identifier}/archive",
            params={"path": preview.ARCHIVE_TARGET, "copyUIDGID": "false"},
            data=stream,
        )
        if answer.status_code != 200:
            raise refused(volume, answer.status_code, answer.text)

    @contextlib.contextmanager
    def _archive_container(self, volume: str, image: str) -> Iterator[str]:
        if self.volume(volume) is None:
            raise NotFoundError(volume, "the engine has no volume of that name")
        with contextlib.ExitStack() as undo:
            yield self._create(preview.archive_spec(volume, image), undo)


def _head(archive: Iterator[bytes]) -> bytes:
    """The beginning of an archive, all of it when it is short."""
    head = b""
    for chunk in archive:
        head += chunk
        if len(head) > _SHORT_ARCHIVE:
            break
    return head


def _fed(text: str, head: bytes) -> str:
    """A command with its standard input: the archive's bytes, or a file to be named."""
    if len(head) > _SHORT_ARCHIVE:
        return f"{text} < archive.tar"
    packed = base64.b64encode(gzip.compress(head, mtime=0)).decode()
    return f"echo {packed} | base64 -d | gzip -d | {text}"
