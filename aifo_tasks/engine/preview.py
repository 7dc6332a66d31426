"""Specs as the exact docker command lines that do the same; pure.

``client`` is the beginning of every line: the program and how it finds the engine.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from aifo_tasks.engine.api import (
    BuildSpec,
    ContainerSpec,
    ImportSpec,
    MountSpec,
    NetworkSpec,
    PublishSpec,
    VolumeSpec,
)
from aifo_tasks.model import PROXIES

Argv = tuple[str, ...]
DOCKER: Argv = ("docker",)
_LOAD = "type=docker,compression=zstd,compression-level=1,oci-mediatypes=true"
"""Into the engine. A containerd store keeps layers compressed, and gzip takes longer than most
builds; other stores do not care. An image that another engine saved, or that is for another
platform, is unpacked later, and then an engine knows zstd by OCI's media type alone."""

ARCHIVE_TARGET = "/aifo-volume"
"""Where a volume is mounted while its content is read or written."""


def client_argv(name: str, endpoint: str) -> Argv:
    """docker or podman, told which engine; an ``endpoint`` of "" leaves it its own."""
    option = "--url" if name == "podman" else "--host"
    return (name, option, endpoint) if endpoint else (name,)


def run_argv(spec: ContainerSpec, client: Argv = DOCKER, *, detach: bool = False) -> Argv:
    """``docker run`` of a container; with ``detach`` what ``start`` does, else what ``run``."""
    words = [*client, "run", *_flag("--detach", detach)]
    words += _flag("--rm", spec.remove or not detach)
    return (*words, *_container(spec))


def create_argv(spec: ContainerSpec, client: Argv = DOCKER) -> Argv:
    """``docker create`` of a container that somebody removes."""
    return (*client, "create", *_container(spec))


def _container(spec: ContainerSpec) -> Iterator[str]:
    yield from ("--pull", "never")
    yield from _option("--name", spec.name)
    yield from _option("--network", spec.network)
    yield from _option("--user", spec.user)
    yield from _option("--userns", spec.userns)
    yield from _option("--workdir", spec.working_dir)
    yield from _option("--hostname", spec.hostname)
    yield from _flag("--read-only", spec.read_only)
    yield from _options("--cap-drop", spec.cap_drop)
    yield from _options("--cap-add", spec.cap_add)
    yield from _options("--security-opt", spec.security_opt)
    yield from _option("--pids-limit", str(spec.pids_limit or ""))
    yield from _option("--memory", str(spec.memory or ""))
    yield from _options("--add-host", [f"{host}:{ip}" for host, ip in spec.extra_hosts])
    yield from _options("--label", _pairs(spec.labels))
    yield from _options("--env", _variables(spec.environment))
    for mount in spec.mounts:
        yield from mount_option(mount)
    yield from _option("--entrypoint", "".join(spec.entrypoint[:1]))
    yield spec.image
    yield from spec.entrypoint[1:]
    yield from spec.command


def exec_argv(
    container: str,
    command: Sequence[str],
    client: Argv = DOCKER,
    *,
    cwd: str = "",
    environment: Sequence[tuple[str, str | None]] = (),
) -> Argv:
    """``docker exec`` of a command; a variable without a value is the caller's own."""
    words = [*client, "exec", "--interactive", *_option("--workdir", cwd)]
    for name, value in environment:
        words += ["--env", name if value is None else f"{name}={value}"]
    return (*words, container, *command)


def mount_option(mount: MountSpec) -> Argv:
    """``--mount`` for a bind mount or a volume, ``--tmpfs`` with its options."""
    if mount.kind == "tmpfs":
        return ("--tmpfs", f"{mount.target}:{mount.options}" if mount.options else mount.target)
    fields = [f"type={mount.kind}", f"source={mount.source}", f"target={mount.target}"]
    fields += _flag("readonly", mount.read_only)
    return ("--mount", ",".join(_csv(field) for field in fields))


def build_argv(spec: BuildSpec, client: Argv = DOCKER) -> Argv:
    """A build that reads the Dockerfile from standard input and loads the image."""
    podman = client[0] == "podman"
    words = [*client]
    words += ["build"] if podman else ["buildx", "build", "--builder", "default", "--output", _LOAD]
    # an attestation has the time in it: the same inputs would give another digest
    words += [] if podman else ["--provenance", "false", "--progress", "plain"]
    words += ["--tag", spec.tag]
    words += _option("--platform", spec.platform)
    return (*words, *_inputs(spec))


def publish_argv(spec: PublishSpec, metadata: str, client: Argv = DOCKER) -> Argv:
    """A build for several platforms into an archive; its digest goes into ``metadata``, "" for
    nowhere."""
    words = [*client, "buildx", "build", "--builder", spec.builder, "--progress", "plain"]
    words += ["--provenance", "mode=max" if spec.attest else "false"]
    words += ["--sbom", "true"] if spec.attest else []
    words += ["--platform", ",".join(spec.platforms)]
    # the times in it are the source's, not now; a push by buildx would go through the engine's
    # own images, and take an older one of that name
    output = fields(
        "type=oci", f"name={spec.build.tag}", f"dest={spec.archive}", "rewrite-timestamp=true"
    )
    words += [*_option("--metadata-file", metadata), "--output", output]
    words += _options("--cache-from", spec.cache_from)
    words += _options("--cache-to", spec.cache_to)
    return (*words, *_inputs(spec.build))


def load_argv(archive: str, client: Argv = DOCKER) -> Argv:
    """``docker load`` of an archive."""
    return (*client, "load", "--input", archive)


def save_argv(reference: str, archive: str, client: Argv = DOCKER) -> Argv:
    """``docker save`` of an image."""
    return (*client, "save", "--output", archive, reference)


def push_argv(reference: str, client: Argv = DOCKER) -> Argv:
    """``docker push``."""
    return (*client, "push", reference)


def tag_argv(reference: str, name: str, client: Argv = DOCKER) -> Argv:
    """``docker image tag``."""
    return (*client, "image", "tag", reference, name)


def retag_argv(sources: Sequence[str], tags: Sequence[str], client: Argv = DOCKER) -> Argv:
    """Further names for what a registry has, several joined into one; nobody downloads it."""
    return (*client, "buildx", "imagetools", "create", *_options("--tag", tags), *sources)


def _inputs(spec: BuildSpec) -> Iterator[str]:
    yield from _flag("--no-cache", spec.no_cache)
    yield from _options("--label", _pairs(spec.labels))
    yield from _options("--build-arg", _variables(spec.arguments))
    yield from _options("--secret", [secret(name, str(path)) for name, path in spec.secrets])
    yield from _options("--build-context", [f"{name}={path}" for name, path in spec.contexts])
    yield from ("--file", "-", str(spec.context))


def build_text(argv: Argv, dockerfile: str) -> str:
    """A build for a shell, the Dockerfile below it as a here-document."""
    end = "AIFO_END"
    while end in dockerfile.splitlines():
        end += "_"
    newline = "" if dockerfile.endswith("\n") else "\n"
    return f"{shlex.join(argv)} <<'{end}'\n{dockerfile}{newline}{end}"


def import_argv(spec: ImportSpec, client: Argv = DOCKER) -> Argv:
    """``docker import`` of a root file system."""
    changes = _options("--change", label_changes(spec.labels, client))
    return (*client, "import", *changes, str(spec.archive), spec.tag)


def label_changes(labels: Sequence[tuple[str, str]], client: Argv = DOCKER) -> list[str]:
    """Labels as the Dockerfile instructions that an import takes."""
    # Podman takes off the quotes around a word and expands nothing
    word = '"{}"'.format if client[0] == "podman" else _instruction_word
    return [f"LABEL {word(name)}={word(value)}" for name, value in labels]


def pull_argv(reference: str, client: Argv = DOCKER) -> Argv:
    """``docker pull``."""
    return (*client, "pull", reference)


def remove_image_argv(reference: str, client: Argv = DOCKER) -> Argv:
    """``docker image rm``."""
    return (*client, "image", "rm", reference)


def create_volume_argv(spec: VolumeSpec, client: Argv = DOCKER) -> Argv:
    """``docker volume create``."""
    words = [*client, "volume", "create"]
    words += _options("--label", _pairs(spec.labels))
    words += _options("--opt", _pairs(spec.options))
    return (*words, spec.name)


def remove_volume_argv(name: str, client: Argv = DOCKER) -> Argv:
    """``docker volume rm``."""
    return (*client, "volume", "rm", name)


def create_network_argv(spec: NetworkSpec, client: Argv = DOCKER) -> Argv:
    """``docker network create``."""
    words = [*client, "network", "create", "--driver", "bridge"]
    words += _flag("--internal", spec.internal)
    words += _options("--label", _pairs(spec.labels))
    return (*words, spec.name)


def remove_network_argv(name: str, client: Argv = DOCKER) -> Argv:
    """``docker network rm``."""
    return (*client, "network", "rm", name)


def stop_argv(name: str, seconds: int, client: Argv = DOCKER) -> Argv:
    """``docker stop``."""
    return (*client, "stop", "--time", str(seconds), name)


def remove_container_argv(name: str, client: Argv = DOCKER) -> Argv:
    """``docker rm`` of a container, running or not, and of its anonymous volumes."""
    return (*client, "rm", "--force", "--volumes", name)


def archive_spec(volume: str, image: str) -> ContainerSpec:
    """The container, never started, through which a volume's content is read and written."""
    mount = MountSpec(kind="volume", source=volume, target=ARCHIVE_TARGET)
    return ContainerSpec(
        image=image, network="none", remove=False, mounts=(mount,), entrypoint=("never-started",)
    )


def read_archive_text(volume: str, image: str, client: Argv = DOCKER) -> str:
    """A shell command that writes a volume's content to standard output as a tar stream."""
    return _through_container(volume, image, client, f'cp "$id":{ARCHIVE_TARGET}/. -')


def write_archive_text(volume: str, image: str, client: Argv = DOCKER) -> str:
    """A shell command that unpacks a tar stream from standard input into a volume."""
    keep_owners = "--archive=false " if client[0] == "podman" else ""
    return _through_container(volume, image, client, f'cp {keep_owners}- "$id":{ARCHIVE_TARGET}')


def _through_container(volume: str, image: str, client: Argv, copy: str) -> str:
    docker = shlex.join(client)
    create = shlex.join(create_argv(archive_spec(volume, image), client))
    remove = f'status=$?; {docker} rm --force "$id" >/dev/null; exit $status'
    return f"(id=$({create}) && {{ {docker} {copy}; {remove}; }})"


def _option(name: str, value: str) -> list[str]:
    return [name, value] if value else []


def _options(name: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (name, value)]


def _flag(name: str, on: bool) -> list[str]:  # noqa: FBT001  # reads as what it is
    return [name] if on else []


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{name}={value}" for name, value in pairs]


def _variables(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Proxies are named alone: their value, which may hold a password, is the caller's own and
    docker takes it from the environment."""
    return [name if name in PROXIES else f"{name}={value}" for name, value in pairs]


def secret(name: str, path: str) -> str:
    """A secret from a file, in buildx's words."""
    return fields(f"id={name}", f"src={path}")


def fields(*words: str) -> str:
    """Several ``name=value`` in one of buildx's words."""
    return ",".join(_csv(word) for word in words)


def _csv(field: str) -> str:
    """One field of a comma-separated option, quoted where it has to be."""
    return '"' + field.replace('"', '""') + '"' if set(',"\n') & set(field) else field


def _instruction_word(text: str) -> str:
    """A word of a Dockerfile instruction, in which nothing is expanded."""
    escaped = "".join(f"\\{character}" if character in '\\"$' else character for character in text)
    return f'"{escaped}"'
