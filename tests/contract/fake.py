"""An engine in memory: it keeps everything, and runs nothing but what it is taught."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import shlex
import string
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from aifo_tasks import log
from aifo_tasks.engine import preview
from aifo_tasks.engine.api import (
    BuildSpec,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    ExecStream,
    Finished,
    ImageState,
    ImportSpec,
    MountState,
    NetworkSpec,
    NetworkState,
    Progress,
    VolumeSpec,
    VolumeState,
)
from aifo_tasks.errors import ConflictError, EngineError, NotFoundError
from aifo_tasks.image import oci
from tests.contract.fake_stream import FakeStream

Program = Callable[[ContainerSpec], Finished | None]
"""What a program does in a container: how it ends, None when it goes on running."""


def probe(spec: ContainerSpec) -> Finished | None:
    """What ``probe.c`` does, as far as it can be known without a kernel."""
    verb, *words = spec.command
    if verb == "wait":
        return None
    if verb == "exit":
        return Finished(status=int(words[0]), output=b"")
    if verb in ("print", "warn"):
        return Finished(status=0, output=f"{words[0]}\n".encode())
    if verb == "id":
        uid, _, gid = (spec.user or "0:0").partition(":")
        return Finished(status=0, output=f"{uid} {gid or 0}\n".encode())
    raise AssertionError(f"the fake cannot know what probe {verb} gives")


@dataclasses.dataclass
class _Container:
    spec: ContainerSpec
    state: ContainerState
    streams: list[FakeStream] = dataclasses.field(default_factory=list)


class Fake:
    """An ``Engine`` without an engine.

    ``images`` may be filled by hand; ``programs`` maps the first word of a container's
    command to what it does. ``calls`` names every method that was to change something and
    that a dry run did not leave out.
    """

    def __init__(self, programs: Mapping[str, Program] | None = None) -> None:
        self.programs = {"/probe": probe, **(programs or {})}
        self.images: dict[str, ImageState] = {}
        self.calls: list[str] = []
        self._volumes: dict[str, VolumeState] = {}
        self._contents: dict[str, dict[str, tuple[tarfile.TarInfo, bytes]]] = {}
        self._networks = {name: NetworkState(name=name) for name in ("bridge", "none", "host")}
        self._containers: dict[str, _Container] = {}
        self._numbers = itertools.count(1)

    def info(self) -> EngineInfo:
        return EngineInfo(
            name="docker", version="0", platform="linux/amd64", endpoint="", containerd_store=True
        )

    # images

    def image(self, reference: str) -> ImageState | None:
        return self.images.get(_tagged(reference))

    def pull(self, reference: str, progress: Progress) -> ImageState:
        if not self._announce("pull", shlex.join(preview.pull_argv(reference))):
            return ImageState(id="", platform="")
        progress("asking nobody")
        raise EngineError(reference, "the fake reaches no registry")

    def build(self, spec: BuildSpec, progress: Progress) -> ImageState:
        if not self._announce(
            "build", preview.build_text(preview.build_argv(spec), spec.dockerfile)
        ):
            return ImageState(id="", platform="")
        labels: dict[str, str] = {}
        arguments = dict(spec.arguments)
        for number, line in enumerate(spec.dockerfile.splitlines(), 1):
            progress(f"{number} {line}")
            word, _, rest = string.Template(line).safe_substitute(arguments).partition(" ")
            if word == "ARG":
                name, _, default = rest.partition("=")
                arguments.setdefault(name, default)
            elif word == "FROM":
                labels = dict(self._required_image(rest).labels)
            elif word == "LABEL":
                labels |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            elif word == "COPY" and not (spec.context / rest.split()[0]).exists():
                raise EngineError(spec.tag, f"the build failed: {rest.split()[0]} not found")
            elif word == "RUN":
                self._run_in_build(spec, rest)
        return self._add_image(spec.tag, repr(spec), labels | dict(spec.labels))

    def _run_in_build(self, spec: BuildSpec, rest: str) -> None:
        words = tuple(word.strip('[],"') for word in rest.split())
        done = self._program(words)(ContainerSpec(image="", command=words[1:]))
        if done is None or done.status != 0:
            raise EngineError(spec.tag, f"the build failed: {rest}")

    def import_image(self, spec: ImportSpec) -> ImageState:
        if not self._announce("import_image", shlex.join(preview.import_argv(spec))):
            return ImageState(id="", platform="")
        if not tarfile.is_tarfile(spec.archive):
            raise EngineError(spec.tag, f"{spec.archive} cannot be imported")
        return self._add_image(spec.tag, _content(spec.archive), dict(spec.labels))

    def load(self, archive: Path, reference: str) -> ImageState:
        if not self._announce("load", shlex.join(preview.load_argv(str(archive)))):
            return ImageState(id="", platform="")
        if not tarfile.is_tarfile(archive):
            raise EngineError(reference, f"{archive} cannot be loaded")
        return self._add_image(reference, _content(archive), {})

    def push(self, reference: str, progress: Progress) -> None:
        if self._announce("push", shlex.join(preview.push_argv(reference))):
            self._required_image(reference)
            progress("Preparing")
            raise EngineError(reference, "no registry answers")

    def save(self, reference: str, archive: Path) -> None:
        if self._announce("save", shlex.join(preview.save_argv(reference, str(archive)))):
            self._required_image(reference)
            oci.write(archive, reference, [("linux/amd64", Path(__file__))])

    def tag(self, reference: str, name: str) -> ImageState:
        if not self._announce("tag", shlex.join(preview.tag_argv(reference, name))):
            return ImageState(id="", platform="")
        self.images[_tagged(name)] = self._required_image(reference)
        return self.images[_tagged(name)]

    def remove_image(self, reference: str) -> None:
        if self._announce("remove_image", shlex.join(preview.remove_image_argv(reference))):
            for container in self._containers.values():
                if container.state.running and _tagged(container.spec.image) == _tagged(reference):
                    raise ConflictError(reference, "a container uses it")
            self.images.pop(_tagged(reference), None)

    def _add_image(self, tag: str, content: str, labels: dict[str, str]) -> ImageState:
        identifier = hashlib.sha256(f"{content}{sorted(labels.items())}".encode()).hexdigest()
        state = ImageState(id=f"sha256:{identifier}", platform="linux/amd64", labels=labels)
        self.images[_tagged(tag)] = state
        return state

    def _required_image(self, reference: str) -> ImageState:
        state = self.image(reference)
        if state is None:
            raise NotFoundError(reference, "no such image")
        return state

    # volumes

    def volume(self, name: str) -> VolumeState | None:
        return self._volumes.get(name)

    def volumes(self, labels: Mapping[str, str]) -> tuple[VolumeState, ...]:
        return tuple(one for one in self._volumes.values() if _has(one.labels, labels))

    def volume_sizes(self) -> Mapping[str, int]:
        return {
            name: sum(len(data) for _, data in content.values())
            for name, content in self._contents.items()
        }

    def create_volume(self, spec: VolumeSpec) -> VolumeState:
        if spec.name in self._volumes:
            raise ConflictError(spec.name, "the engine already has a volume of that name")
        if not self._announce("create_volume", shlex.join(preview.create_volume_argv(spec))):
            return VolumeState(name=spec.name, driver="")
        return self._add_volume(spec)

    def _add_volume(self, spec: VolumeSpec) -> VolumeState:
        self._volumes[spec.name] = VolumeState(
            name=spec.name,
            driver="local",
            created=f"2026-01-01T00:00:{next(self._numbers) % 60:02}Z",
            labels=dict(spec.labels),
            options=dict(spec.options),
        )
        self._contents[spec.name] = {}
        return self._volumes[spec.name]

    def remove_volume(self, name: str) -> None:
        if self._announce("remove_volume", shlex.join(preview.remove_volume_argv(name))):
            if any(
                mount.volume == name
                for container in self._containers.values()
                for mount in container.state.mounts
            ):
                raise ConflictError(name, "volume is in use")
            self._volumes.pop(name, None)
            self._contents.pop(name, None)

    # networks

    def network(self, name: str) -> NetworkState | None:
        return self._networks.get(name)

    def networks(self, labels: Mapping[str, str]) -> tuple[NetworkState, ...]:
        return tuple(one for one in self._networks.values() if _has(one.labels, labels))

    def create_network(self, spec: NetworkSpec) -> None:
        if self._announce("create_network", shlex.join(preview.create_network_argv(spec))):
            if spec.name in self._networks:
                raise ConflictError(spec.name, "network already exists")
            self._networks[spec.name] = NetworkState(
                name=spec.name,
                internal=spec.internal,
                gateway=f"192.0.2.{len(self._networks)}",
                labels=dict(spec.labels),
            )

    def remove_network(self, name: str) -> None:
        if self._announce("remove_network", shlex.join(preview.remove_network_argv(name))):
            if any(
                one.state.running and one.spec.network == name for one in self._containers.values()
            ):
                raise ConflictError(name, "network has active endpoints")
            self._networks.pop(name, None)

    # containers

    def start(self, spec: ContainerSpec) -> ContainerState:
        if not self._announce("start", shlex.join(preview.run_argv(spec, detach=True))):
            return ContainerState(id="", name=spec.name, status="")
        container, finished = self._launch(spec)
        if finished is not None:
            if spec.remove:
                del self._containers[container.state.id]
                return dataclasses.replace(container.state, status="removed", pid=0)
            container.state = dataclasses.replace(
                container.state, status="exited", exit_status=finished.status, pid=0
            )
        return container.state

    def run(self, spec: ContainerSpec) -> Finished:
        if not self._announce("run", shlex.join(preview.run_argv(spec))):
            return Finished(status=0, output=b"")
        container, finished = self._launch(spec)
        del self._containers[container.state.id]
        assert finished is not None, "this program runs for ever"
        return finished

    def _launch(self, spec: ContainerSpec) -> tuple[_Container, Finished | None]:
        image = self._required_image(spec.image)
        if spec.name and self.container(spec.name) is not None:
            raise ConflictError(spec.name, "the name is already in use")
        if spec.network not in self._networks:
            raise NotFoundError(spec.name or spec.image, f"network {spec.network} not found")
        program = self._program((*spec.entrypoint, *spec.command))
        number = next(self._numbers)
        state = ContainerState(
            id=f"{number:064x}",
            name=spec.name or f"nameless-{number}",
            status="running",
            pid=2**22 + number,  # above what a kernel gives
            image=spec.image,
            labels={**image.labels, **dict(spec.labels)},
            mounts=tuple(self._mounts(spec)),
        )
        words = (*spec.entrypoint, *spec.command)[1:]
        finished = program(dataclasses.replace(spec, entrypoint=(), command=words))
        container = self._containers[state.id] = _Container(spec, state)
        return container, finished

    def _program(self, words: tuple[str, ...]) -> Program:
        if not words or words[0] not in self.programs:
            raise EngineError("container", f"exec {words[:1]}: no such file or directory")
        return self.programs[words[0]]

    def _mounts(self, spec: ContainerSpec) -> Iterator[MountState]:
        for mount in sorted(spec.mounts, key=lambda one: one.target):
            if mount.kind == "bind" and not Path(mount.source).exists():
                raise EngineError(spec.image, f"bind source path does not exist: {mount.source}")
            if mount.kind == "volume" and mount.source not in self._volumes:
                self._add_volume(VolumeSpec(name=mount.source))
            volume = mount.source if mount.kind == "volume" else ""
            yield MountState(
                kind=mount.kind,
                target=mount.target,
                source=f"/fake/{volume}" if volume else mount.source,
                volume=volume,
                read_only=mount.read_only,
            )

    def exec_stream(self, name: str, argv: Sequence[str]) -> ExecStream:
        if not self._announce("exec_stream", shlex.join(preview.exec_argv(name, argv))):
            ended = FakeStream(["/probe", "echo"])
            ended.close()
            return ended
        state = self.container(name)
        if state is None:
            raise NotFoundError(name, "no such container")
        if not state.running:
            raise ConflictError(name, "is not running")
        stream = FakeStream(argv)
        self._containers[state.id].streams.append(stream)
        return stream

    def container(self, name: str) -> ContainerState | None:
        for container in self._containers.values():
            if name in (container.state.name, container.state.id):
                return container.state
        return None

    def containers(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        return tuple(
            one.state for one in self._containers.values() if _has(one.state.labels, labels)
        )

    def stop(self, name: str, *, seconds: int = 5) -> None:
        if self._announce("stop", shlex.join(preview.stop_argv(name, seconds))):
            self._end(name, removed=False)

    def remove_container(self, name: str) -> None:
        if self._announce("remove_container", shlex.join(preview.remove_container_argv(name))):
            self._end(name, removed=True)

    def _end(self, name: str, *, removed: bool) -> None:
        state = self.container(name)
        if state is None:
            return
        container = self._containers[state.id]
        for stream in container.streams:
            stream.end()
        if removed or container.spec.remove:
            del self._containers[state.id]
        elif state.running:
            container.state = dataclasses.replace(state, status="exited", exit_status=143, pid=0)

    # archives

    def read_archive(self, volume: str, image: str) -> Iterator[bytes]:
        if not self._announce("read_archive", preview.read_archive_text(volume, image)):
            return
        self._required_image(image)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for member, data in self._content(volume).values():
                archive.addfile(member, io.BytesIO(data))
        yield buffer.getvalue()

    def write_archive(self, volume: str, image: str, archive: Iterator[bytes]) -> None:
        if not self._announce("write_archive", preview.write_archive_text(volume, image)):
            return
        self._required_image(image)
        content = self._content(volume)
        with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as stream:
            for member in stream:
                if (name := member.name.removeprefix("./")) not in ("", "."):
                    file = stream.extractfile(member) if member.isreg() else None
                    content[name] = (member, file.read() if file else b"")

    def _content(self, volume: str) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
        if volume not in self._contents:
            raise NotFoundError(volume, "the engine has no volume of that name")
        return self._contents[volume]

    def _announce(self, call: str, text: str) -> bool:
        allowed = log.command(text)
        if allowed:
            self.calls.append(call)
        return allowed


def _tagged(reference: str) -> str:
    named = "@" in reference or ":" in reference.rpartition("/")[2]
    return reference if named else f"{reference}:latest"


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(
        name in labels and (not value or labels[name] == value) for name, value in wanted.items()
    )


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
