"""The Engine through the docker SDK: Docker, and Podman by its API service."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import gzip
import itertools
import json
import os
import secrets
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.utils
import requests
import urllib3
from docker.utils.socket import frames_iter

from aifo_tasks import log
from aifo_tasks.engine import (
    body,
    buildx,
    dialect,
    hijack,
    light,
    preview,
    publishing,
    states,
)
from aifo_tasks.engine.api import (
    BuildSpec,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    ExecStream,
    Finished,
    ImageState,
    ImportSpec,
    NetworkSpec,
    NetworkState,
    Progress,
    VolumeSpec,
    VolumeState,
)
from aifo_tasks.engine.failure import refused, unreachable
from aifo_tasks.errors import ConflictError, EngineError, NotFoundError

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"
_SHORT_ARCHIVE = 64 * 1024
"""Up to this size an archive is printed with the command that unpacks it."""
_REMOVAL_SECONDS = 10.0


def connect(endpoint: str) -> DockerEngine:
    """Reach the engine at ``endpoint``: ``unix://``, ``tcp://`` or ``ssh://``.

    Raises EngineError when nothing answers there.
    """
    # asked by ourselves first: the SDK would leak a socket when nobody listens
    local = endpoint.startswith("unix://")
    version = light.get(endpoint, "/version")["ApiVersion"] if local else "auto"
    options: dict[str, Any] = {}
    if endpoint.startswith("tcp://") and os.environ.get("DOCKER_TLS_VERIFY"):
        options["tls"] = docker.utils.kwargs_from_env().get("tls", False)
    try:
        api = docker.APIClient(
            base_url=endpoint,
            version=version,
            timeout=600,
            use_ssh_client=endpoint.startswith("ssh://"),
            **options,
        )
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise unreachable(endpoint, error) from None
    return DockerEngine(api, endpoint)


class DockerEngine:
    """An ``Engine``; may be used by several threads."""

    def __init__(self, api: docker.APIClient, endpoint: str) -> None:
        self._api = api
        self._endpoint = endpoint
        self._info: EngineInfo | None = None

    def __enter__(self) -> DockerEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._api.close()

    def info(self) -> EngineInfo:
        if self._info is None:
            with self._asking("container engine"):
                self._info = states.engine_info(
                    self._endpoint, self._api.version(), self._api.info()
                )
        return self._info

    # images

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

    # volumes

    def volume(self, name: str) -> VolumeState | None:
        try:
            with self._asking(name):
                return states.volume_state(self._api.inspect_volume(name))
        except NotFoundError:
            return None

    def volumes(self, labels: Mapping[str, str]) -> tuple[VolumeState, ...]:
        with self._asking("volumes"):
            found = self._api.volumes(filters={"label": _label_filters(labels)})
        volumes = (states.volume_state(one) for one in found.get("Volumes") or ())
        return tuple(one for one in volumes if _has(one.labels, labels))

    def volume_sizes(self) -> Mapping[str, int]:
        with self._asking("volumes"):
            found = self._api.df().get("Volumes") or ()
        return {one["Name"]: max(0, (one.get("UsageData") or {}).get("Size", 0)) for one in found}

    def create_volume(self, spec: VolumeSpec) -> VolumeState:
        # the engine itself would return the volume that is there, whatever it is
        if self.volume(spec.name) is not None:
            raise ConflictError(spec.name, "the engine already has a volume of that name")
        if not self._announce(preview.create_volume_argv(spec, self._client)):
            return VolumeState(name=spec.name, driver="")
        with self._asking(spec.name):
            return states.volume_state(
                self._api.create_volume(
                    spec.name, "local", dict(spec.options) or None, dict(spec.labels) or None
                )
            )

    def remove_volume(self, name: str) -> None:
        if self._announce(preview.remove_volume_argv(name, self._client)):
            with contextlib.suppress(NotFoundError), self._asking(name):
                self._api.remove_volume(name)

    # networks

    def network(self, name: str) -> NetworkState | None:
        try:
            with self._asking(name):
                return states.network_state(self._api.inspect_network(name))
        except NotFoundError:
            return None

    def networks(self, labels: Mapping[str, str]) -> tuple[NetworkState, ...]:
        with self._asking("networks"):
            found = self._api.networks(filters={"label": _label_filters(labels)})
        networks = (states.network_state(one) for one in found)
        return tuple(one for one in networks if _has(one.labels, labels))

    def create_network(self, spec: NetworkSpec) -> None:
        if self._announce(preview.create_network_argv(spec, self._client)):
            with self._asking(spec.name):
                self._api.create_network(
                    spec.name, driver="bridge", internal=spec.internal,
                    labels=dict(spec.labels) or None, check_duplicate=True,
                )  # fmt: skip

    def remove_network(self, name: str) -> None:
        if self._announce(preview.remove_network_argv(name, self._client)):
            with contextlib.suppress(NotFoundError), self._asking(name):
                self._api.remove_network(name)

    # containers

    def start(self, spec: ContainerSpec) -> ContainerState:
        spec = self._bridged(spec)
        if not self._announce(preview.run_argv(spec, self._client, detach=True)):
            return ContainerState(id="", name=spec.name, status="")
        with contextlib.ExitStack() as undo:
            identifier = self._create(spec, undo)
            with self._asking(spec.name or spec.image):
                self._api.start(identifier)
            state = self.container(identifier)
            undo.pop_all()
        # a container that ended at once and removed itself
        return state or ContainerState(id=identifier, name=spec.name, status="removed")

    def run(self, spec: ContainerSpec) -> Finished:
        spec = self._bridged(spec)
        if not self._announce(preview.run_argv(spec, self._client)):
            return Finished(status=0, output=b"")
        with contextlib.ExitStack() as undo:
            identifier = self._create(dataclasses.replace(spec, remove=False), undo)
            with self._asking(spec.name or spec.image):
                attached = self._api.attach_socket(identifier)  # before it writes
                # the SDK hands out a reader and leaves the connection to us
                undo.callback(getattr(attached, "_response", attached).close)
                self._api.start(identifier)
                frames = frames_iter(attached, tty=False)  # type: ignore[no-untyped-call]
                written = b"".join(chunk for _, chunk in frames)
                status = self._api.wait(identifier, timeout=None)["StatusCode"]
        return Finished(status=status, output=written)

    def _create(self, spec: ContainerSpec, undo: contextlib.ExitStack) -> str:
        """Create a container that ``undo`` removes; nameless ones get a name, so that they
        are found even when the engine's answer is lost."""
        if self.info().local:
            _require_sources(spec)
        name = spec.name or f"aifo-{secrets.token_hex(8)}"
        if not spec.name:
            undo.callback(self._remove, name)
        with self._asking(spec.name or spec.image):
            wanted = body.container_body(spec)
            created = self._api.create_container_from_config(wanted, name)  # type: ignore[no-untyped-call]
        identifier = str(created["Id"])
        undo.callback(self._remove, identifier)
        return identifier

    def _bridged(self, spec: ContainerSpec) -> ContainerSpec:
        return dialect.bridged(spec) if self.info().name == "podman" else spec

    def exec_stream(self, name: str, argv: Sequence[str]) -> ExecStream:
        return hijack.open_stream(self._endpoint, name, argv, self._client)

    def container(self, name: str) -> ContainerState | None:
        found = self._inspect(name)
        return None if found is None else states.container_state(found)

    def containers(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        with self._asking("containers"):
            found = self._api.containers(all=True, filters={"label": _label_filters(labels)})
        containers = (states.listed_container_state(one) for one in found)
        return tuple(one for one in containers if _has(one.labels, labels))

    def stop(self, name: str, *, seconds: int = 5) -> None:
        if not self._announce(preview.stop_argv(name, seconds, self._client)):
            return
        found = self._inspect(name)
        if found is None:
            return
        with contextlib.suppress(NotFoundError), self._asking(name):
            self._api.stop(name, timeout=seconds)
        if (found.get("HostConfig") or {}).get("AutoRemove"):
            self._await_removal(found["Id"])

    def remove_container(self, name: str) -> None:
        if self._announce(preview.remove_container_argv(name, self._client)):
            self._remove(name)

    def _remove(self, name: str) -> None:
        try:
            with contextlib.suppress(NotFoundError), self._asking(name):
                self._api.remove_container(name, v=True, force=True)
        except ConflictError:  # it is being removed already
            self._await_removal(name)

    def _await_removal(self, name: str) -> None:
        """Wait until the name is free: a removal goes on after the engine has answered."""
        pause = threading.Event()
        for _ in range(int(_REMOVAL_SECONDS / 0.02)):
            if self._inspect(name) is None:
                return
            pause.wait(0.02)
        raise ConflictError(
            name, f"the engine has not removed it after {_REMOVAL_SECONDS:g} s",
            hint=shlex.join(preview.remove_container_argv(name, self._client)),
        )  # fmt: skip

    def _inspect(self, name: str) -> Mapping[str, Any] | None:
        try:
            with self._asking(name):
                found: Mapping[str, Any] = self._api.inspect_container(name)
                return found
        except NotFoundError:
            return None

    # archives

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

    # the seam

    @property
    def _client(self) -> preview.Argv:
        ours = self._endpoint
        chosen = {"DOCKER_HOST", "DOCKER_CONTEXT"} & set(os.environ)
        implied = ours == DEFAULT_ENDPOINT and not chosen
        return preview.client_argv(self.info().name, "" if implied else ours)

    def _announce(self, argv: Sequence[str]) -> bool:
        return log.command(shlex.join(argv))

    @contextlib.contextmanager
    def _asking(self, subject: str) -> Iterator[None]:
        """Requests about ``subject``: what the SDK raises leaves as one of our errors."""
        try:
            yield
        except docker.errors.APIError as error:
            explanation = str(error.explanation or error)
            raise refused(subject, error.status_code or 500, explanation) from None
        except docker.errors.DockerException as error:
            raise EngineError(subject, str(error)) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(self._endpoint, error) from None


def _no_image() -> ImageState:
    return ImageState(id="", platform="")


def _require_sources(spec: ContainerSpec) -> None:
    """Docker refuses to mount a missing directory, Podman makes one of root's."""
    for mount in spec.mounts:
        if mount.kind == "bind" and not os.path.exists(mount.source):
            raise EngineError(mount.source, "is to be mounted and does not exist")


def _parts(reference: str) -> tuple[str, str]:
    repository, tag = docker.utils.parse_repository_tag(reference)
    return repository, tag or "latest"


def _label_filters(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" if value else name for name, value in labels.items()]


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Podman takes several labels of a filter for alternatives."""
    return all(name in labels and value in ("", labels[name]) for name, value in wanted.items())


def _pull_progress(line: Mapping[str, Any]) -> str:
    if not line.get("status"):
        return ""
    layer = f"{line['id']} " if line.get("id") else ""
    return f"{layer}{line['status']} {line.get('progress', '')}".strip()


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
