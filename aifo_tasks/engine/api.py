"""What we ask of a container engine: specs that go in, states that come out, the Protocol.

A spec is a value. ``engine.preview`` turns it into the docker command line that does the
same, ``engine.docker`` into SDK arguments; tests compare both whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal, Protocol

from aifo_tasks.value import dataclass

Progress = Callable[[str], None]
"""Receives one line of a long operation's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSpec:
    """A mount of a container: ``source`` is a host path, a volume's name, or "" for tmpfs.

    ``options`` are tmpfs options such as ``exec,size=64m,uid=1000``.
    """

    kind: Literal["bind", "volume", "tmpfs"]
    target: str
    source: str = ""
    read_only: bool = False
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything a container is started with; sizes in bytes, 0 meaning no limit."""

    image: str
    name: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    mounts: tuple[MountSpec, ...] = ()
    user: str = ""
    working_dir: str = ""
    network: str = "bridge"
    userns: str = ""
    hostname: str = ""
    read_only: bool = False
    remove: bool = True
    cap_drop: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    pids_limit: int = 0
    memory: int = 0
    extra_hosts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A named volume; ``options`` are the local driver's."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A bridge network; ``internal`` has no way out."""

    name: str
    internal: bool = False
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """An image build: ``dockerfile`` is the text, ``secrets`` maps an id to a host file,
    ``contexts`` the name of a further build context to its host directory.

    ``platform`` "" means the engine's own. The image is loaded into the engine under
    ``tag``.
    """

    tag: str
    context: Path
    dockerfile: str
    arguments: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, Path], ...] = ()
    contexts: tuple[tuple[str, Path], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    platform: str = ""
    no_cache: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSpec:
    """A build for ``platforms`` that goes into an OCI archive under the build's tag.

    ``builder`` is buildx's, ``cache_from`` and ``cache_to`` are its own words (``type=…``),
    ``attest`` adds an SBOM and the provenance.
    """

    build: BuildSpec
    platforms: tuple[str, ...]
    archive: Path
    builder: str = "default"
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    attest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSpec:
    """A root file system archive that becomes an image of one layer."""

    archive: Path
    tag: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """Which engine answers. ``name`` is docker or podman, ``platform`` such as linux/amd64;
    ``containerd_store`` says that it keeps images of several platforms."""

    name: Literal["docker", "podman"]
    version: str
    platform: str
    endpoint: str
    rootless: bool = False
    userns_remap: bool = False
    containerd_store: bool = False
    apparmor: bool = False

    @property
    def local(self) -> bool:
        """True when it runs on this machine's kernel and can mount our sockets."""
        return self.endpoint.startswith("unix://")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageState:
    """An image the engine has; ``id`` is its digest (``sha256:…``), ``digests`` its references
    in registries, ``layers`` the digests of its unpacked layers."""

    id: str
    platform: str
    labels: Mapping[str, str] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MountState:
    """A mount as the engine reports it."""

    kind: str
    target: str
    source: str
    volume: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """A container the engine has; ``pid`` is its first process on the host, 0 when none."""

    id: str
    name: str
    status: str
    pid: int = 0
    exit_status: int = 0
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[MountState, ...] = ()

    @property
    def running(self) -> bool:
        return self.status == "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeState:
    """A named volume; ``options`` are its driver's, empty for an ordinary one."""

    name: str
    driver: str
    created: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkState:
    """A network the engine has; ``gateway`` is this machine's IPv4 address in it, "" for none."""

    name: str
    internal: bool = False
    gateway: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A container that ran to its end: its exit status and both outputs, joined."""

    status: int
    output: bytes


class ExecStream(Protocol):
    """A command that runs in a container, by its standard input and output.

    One thread may send while another receives; any may close it.
    """

    @property
    def complaint(self) -> str:
        """The beginning of what it wrote to its standard error."""
        ...

    def receive(self) -> bytes:
        """What it has written, at least a byte; nothing when it has ended."""
        ...

    def send(self, data: bytes) -> None:
        """Give it all of this; OSError when it has ended."""
        ...

    def end_input(self) -> None:
        """Its input ends; what it writes is still received."""
        ...

    def close(self) -> None:
        """Let go of it: its input ends, and nobody takes what it writes."""
        ...


class Engine(Protocol):
    """A container engine. Every method raises EngineError, with a hint where one helps.

    What changes something is announced by ``log.command`` first and left out in a dry run,
    where it returns a state with empty fields. Removing what is not there is no error.
    """

    def info(self) -> EngineInfo: ...

    def image(self, reference: str) -> ImageState | None: ...

    def pull(self, reference: str, progress: Progress) -> ImageState: ...

    def build(self, spec: BuildSpec, progress: Progress) -> ImageState: ...

    def import_image(self, spec: ImportSpec) -> ImageState: ...

    def load(self, archive: Path, reference: str) -> ImageState:
        """The image ``reference`` of an OCI archive, all its platforms, in the engine."""
        ...

    def save(self, reference: str, archive: Path) -> None:
        """Write an image as an archive that can be loaded again."""
        ...

    def push(self, reference: str, progress: Progress) -> None:
        """Send an image, all its platforms, to the registry that the reference names.

        The user's own docker configuration says who it comes from.
        """
        ...

    def tag(self, reference: str, name: str) -> ImageState:
        """Give an image the engine has another name, taking it from another image."""
        ...

    def remove_image(self, reference: str) -> None: ...

    def volume(self, name: str) -> VolumeState | None: ...

    def volumes(self, labels: Mapping[str, str]) -> tuple[VolumeState, ...]: ...

    def volume_sizes(self) -> Mapping[str, int]:
        """Bytes each volume takes; one slow request."""
        ...

    def create_volume(self, spec: VolumeSpec) -> VolumeState:
        """Raises ConflictError when the name is taken."""
        ...

    def remove_volume(self, name: str) -> None:
        """Raises ConflictError while a container uses it."""
        ...

    def network(self, name: str) -> NetworkState | None: ...

    def networks(self, labels: Mapping[str, str]) -> tuple[NetworkState, ...]:
        """Those that have all these labels ("" matches any value)."""
        ...

    def create_network(self, spec: NetworkSpec) -> None:
        """Raises ConflictError when the name is taken."""
        ...

    def remove_network(self, name: str) -> None:
        """Raises ConflictError while a container uses it."""
        ...

    def start(self, spec: ContainerSpec) -> ContainerState:
        """Start a container in the background; ConflictError when its name is taken.

        When it cannot be started, nothing is left of it.
        """
        ...

    def run(self, spec: ContainerSpec) -> Finished:
        """Run a container to its end and remove it, on every path."""
        ...

    def exec_stream(self, name: str, argv: Sequence[str]) -> ExecStream:
        """Start a command in a running container of a local engine, as the container's user.

        One that the container has not ends at once, with a complaint or an unreadable output.
        """
        ...

    def container(self, name: str) -> ContainerState | None: ...

    def containers(self, labels: Mapping[str, str]) -> tuple[ContainerState, ...]:
        """Those that have all these labels ("" matches any value), running or not; their
        ``pid`` and ``mounts`` may be missing."""
        ...

    def stop(self, name: str, *, seconds: int = 5) -> None: ...

    def remove_container(self, name: str) -> None: ...

    def read_archive(self, volume: str, image: str) -> Iterator[bytes]:
        """The content of a volume as a tar stream; ``image`` is any image the engine has.

        Names are relative to the volume, with or without ``./`` before them.
        """
        ...

    def write_archive(self, volume: str, image: str, archive: Iterator[bytes]) -> None:
        """Unpack a tar stream into a volume, owners as the stream says.

        The volume's own directory keeps its owner.
        """
        ...
