"""Images through the docker SDK."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker.utils

from aifo_tasks.engine import buildx, dialect, preview, publishing, states
from aifo_tasks.engine.api import BuildSpec, ImageState, ImportSpec, Progress
from aifo_tasks.engine.sdk import Sdk
from aifo_tasks.errors import EngineError, NotFoundError


class Images(Sdk):
    """What an ``Engine`` does with images."""

    def image(self, reference: str) -> ImageState | None:
        try:
            with self._asking(reference):
                return states.image_state(self._api.inspect_image(reference))  # type: ignore[no-untyped-call]
        except NotFoundError:
            return None

    def pull(self, reference: str, progress: Progress) -> ImageState:
        if not self._announce(preview.pull_argv(reference, self._client)):
            return _no_image()
        with self._asking(reference):
            repository, tag = _parts(reference)
            for line in self._api.pull(repository, tag, stream=True, decode=True):
                if "error" in line:
                    raise EngineError(reference, str(line["error"]))
                if text := _pull_progress(line):
                    progress(text)
        return self._existing_image(reference)

    def build(self, spec: BuildSpec, progress: Progress) -> ImageState:
        if not buildx.build(spec, self._client, progress):
            return _no_image()
        return self._existing_image(spec.tag)

    def import_image(self, spec: ImportSpec) -> ImageState:
        if not self._announce(preview.import_argv(spec, self._client)):
            return _no_image()
        # Podman would forget the tag and take the name for Docker Hub's
        later = self.info().name == "podman"
        repository, tag = _parts(dialect.local_name(spec.tag) if later else spec.tag)
        with self._asking(spec.tag):
            answer = self._api.import_image_from_file(
                str(spec.archive),
                changes=preview.label_changes(spec.labels, self._client),
                repository=None if later else repository,
                tag=None if later else tag,
            )
            imported = json.loads(answer.splitlines()[-1])
            if "error" in imported:
                raise EngineError(spec.tag, f"{spec.archive}: {imported['error']}")
            if later:
                self._api.tag(imported["status"], repository, tag)
        return self._existing_image(spec.tag)

    def load(self, archive: Path, reference: str) -> ImageState:
        if not self._announce(preview.load_argv(str(archive), self._client)):
            return _no_image()
        with self._asking(reference), archive.open("rb") as file:
            for line in self._api.load_image(file):  # type: ignore[no-untyped-call]
                if "error" in line:
                    raise EngineError(reference, f"{archive}: {line['error']}")
        return self._existing_image(reference)

    def save(self, reference: str, archive: Path) -> None:
        if not self._announce(preview.save_argv(reference, str(archive), self._client)):
            return
        with self._asking(reference), archive.open("wb") as file:
            for block in self._api.get_image(reference):
                file.write(block)

    def push(self, reference: str, progress: Progress) -> None:
        if not self._announce(preview.push_argv(reference, self._client)):
            return
        with self._asking(reference):
            repository, tag = _parts(reference)
            for line in self._api.push(repository, tag, stream=True, decode=True):
                if "error" in line:
                    raise publishing.explained(reference, str(line["error"]))
                if text := _pull_progress(line):
                    progress(text)

    def tag(self, reference: str, name: str) -> ImageState:
        if not self._announce(preview.tag_argv(reference, name, self._client)):
            return _no_image()
        with self._asking(reference):
            self._api.tag(reference, *_parts(name))
        return self._existing_image(name)

    def remove_image(self, reference: str) -> None:
        if self._announce(preview.remove_image_argv(reference, self._client)):
            with contextlib.suppress(NotFoundError), self._asking(reference):
                self._api.remove_image(reference)

    def _existing_image(self, reference: str) -> ImageState:
        found = self.image(reference)
        if found is None:
            raise NotFoundError(reference, "the engine says it has it, and then has not")
        return found


def _no_image() -> ImageState:
    return ImageState(id="", platform="")


def _parts(reference: str) -> tuple[str, str]:
    repository, tag = docker.utils.parse_repository_tag(reference)
    return repository, tag or "latest"


def _pull_progress(line: Mapping[str, Any]) -> str:
    if not line.get("status"):
        return ""
    layer = f"{line['id']} " if line.get("id") else ""
    return f"{layer}{line['status']} {line.get('progress', '')}".strip()
