"""The printed commands, pasted into a shell, do what the engine does itself."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aifo_tasks import log
from aifo_tasks.engine import light
from aifo_tasks.engine.api import (
    BuildSpec,
    ContainerSpec,
    ImportSpec,
    MountSpec,
    NetworkSpec,
    VolumeSpec,
)
from aifo_tasks.engine.sdk import DEFAULT_ENDPOINT
from tests.contract.conftest import Recording, Scratch
from tests.contract.test_images import silent
from tests.contract.test_volumes import described, ownerless, packed

# what the docker program says about itself, and what is another container's by nature
OTHERWISE = {"AttachStdout", "AttachStderr", "ConsoleSize", "ContainerIDFile", "Annotations"}


@pytest.fixture(autouse=True)
def _without_docker_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands have to say themselves which engine they mean."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)


def paste(text: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["bash", "-c", text], input=data, capture_output=True, check=False)
    assert done.returncode == 0, (text, done.stderr)
    return done.stdout


def hardened(real: Scratch, tmp_path: Path) -> ContainerSpec:
    options = "exec,size=1m,uid=1000,gid=7"
    return real.container(
        "wait",
        name=real.name,
        environment=(("A", "two words"), ("B", "$HOME 'x'"), ("C", "")),
        mounts=(
            MountSpec(kind="bind", source=str(tmp_path), target="/kept-here", read_only=True),
            MountSpec(kind="volume", source=real.name, target="/volume"),
            MountSpec(kind="tmpfs", target="/tmp", options=options),
        ),
        user="1000:7",
        working_dir="/kept-here",
        hostname="inside",
        read_only=True,
        cap_drop=("ALL",),
        cap_add=("CHOWN",),
        security_opt=("no-new-privileges",),
        pids_limit=99,
        memory=64 * 1024**2,
        extra_hosts=(("example.test", "192.0.2.7"),),
    )


def inspected(real: Scratch) -> Mapping[str, Any]:
    found = light.get(real.endpoint, f"/containers/{real.name}/json")
    host = {key: value for key, value in found["HostConfig"].items() if key not in OTHERWISE}
    config = {key: value for key, value in found["Config"].items() if key not in OTHERWISE}
    config["Env"] = sorted(config["Env"])  # docker gives no order
    mounts = sorted(found["Mounts"], key=lambda mount: str(mount["Destination"]))
    return {
        "Config": without_defaults(config),
        "HostConfig": without_defaults(host),
        "Mounts": mounts,
        "Networks": sorted(found["NetworkSettings"]["Networks"]),
        "AppArmorProfile": found.get("AppArmorProfile"),
    }


def without_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that say something: null, empty and the docker program's -1 mean the same."""
    nothing: tuple[object, ...] = (None, "", 0, -1, [], {}, False)
    return {key: value for key, value in fields.items() if value not in nothing}


def test_a_pasted_run_makes_the_same_container(
    real: Scratch, tmp_path: Path, recording: Recording
) -> None:
    real.engine.create_volume(VolumeSpec(name=real.name))
    spec = hardened(real, tmp_path)
    recording.commands.clear()
    real.engine.start(spec)
    ours = inspected(real)
    (text,) = recording.commands
    real.engine.stop(real.name, seconds=1)
    paste(text)
    theirs = inspected(real)
    if real.engine.info().name == "podman":
        # where its client and its API write down the same thing in two ways
        for side in (ours, theirs):
            forget_podmans(side)
    assert json.dumps(theirs, indent=1, sort_keys=True) == json.dumps(
        ours, indent=1, sort_keys=True
    )


def forget_podmans(side: Mapping[str, Any]) -> None:
    """What Podman records of the command itself."""
    for field in ("CreateCommand", "Annotations", "StopTimeout"):
        side["Config"].pop(field, None)
    side["Config"]["Env"].sort()
    side["HostConfig"].pop("Annotations", None)


def test_a_pasted_run_gives_status_and_output(real: Scratch, recording: Recording) -> None:
    done = real.engine.run(real.container("print", "it's $HOME"))
    argv = ["bash", "-c", recording.commands[-1]]
    pasted = subprocess.run(argv, capture_output=True, check=False)
    assert pasted.stdout == done.output == b"it's $HOME\n"
    assert pasted.returncode == done.status or real.differs("exit status")


def test_a_pasted_dry_run_makes_what_a_run_makes(
    real: Scratch, tmp_path: Path, root_archive: Path, recording: Recording
) -> None:
    """Image, build, volume, network and archive by commands alone."""
    (tmp_path / "file").write_text("x")
    imported = ImportSpec(
        archive=root_archive, tag=f"{real.name}-other:1", labels=(("odd", "a 'b' $c é"),)
    )
    build = BuildSpec(
        tag=f"{real.name}:1",
        context=tmp_path,
        dockerfile=f"FROM {real.image}\n# AIFO_END\nCOPY file /file\nLABEL inner='$x'\n",
        labels=(("outer", "it's"),),
        arguments=(("A", "b c"),),
        secrets=(("word", tmp_path / "file"),),
    )
    volume = VolumeSpec(name=real.name, labels=(("a", "b c"),))
    network = NetworkSpec(name=real.name, internal=True, labels=(("a", "b c"),))
    log.configure(dry_run=True)
    real.engine.import_image(imported)
    real.engine.build(build, silent)
    real.engine.create_volume(volume)
    real.engine.create_network(network)
    log.configure(dry_run=False)
    for text in recording.commands:
        paste(text)
    labels = light.image_labels(real.endpoint, (imported.tag, build.tag))
    one, other = labels[imported.tag], labels[build.tag]
    assert one is not None
    assert other is not None
    assert one.labels["odd"] == "a 'b' $c é"
    assert (other.labels["inner"], other.labels["outer"]) == ("$x", "it's")
    made = real.engine.volume(real.name)
    assert made is not None
    assert made.labels == {"a": "b c"}
    state = real.engine.network(real.name)
    assert state is not None
    assert (state.internal, state.labels) == (True, {"a": "b c"})


def test_pasted_archives(real: Scratch, recording: Recording) -> None:
    real.engine.create_volume(VolumeSpec(name=real.name))
    recording.commands.clear()
    list(real.engine.read_archive(real.name, real.image))
    log.configure(dry_run=True)
    small = next(packed())[:10240]
    real.engine.write_archive(real.name, real.image, iter([small]))
    real.engine.write_archive(real.name, real.image, packed())
    log.configure(dry_run=False)
    read, short, long = recording.commands
    assert long.endswith(" < archive.tar")
    paste(long.removesuffix(" < archive.tar"), b"".join(packed()))
    assert ownerless(described(iter([paste(read)]))) == ownerless(described(packed()))
    assert "base64 -d" in short
    assert real.containers() == []


def test_pasted_removals(real: Scratch, recording: Recording) -> None:
    real.engine.create_volume(VolumeSpec(name=real.name))
    real.engine.create_network(NetworkSpec(name=real.name))
    real.engine.start(real.container("wait", name=real.name, network=real.name))
    real.engine.start(real.container("wait", name=f"{real.name}-other", remove=False))
    recording.commands.clear()
    log.configure(dry_run=True)
    real.engine.stop(real.name, seconds=1)
    real.engine.remove_container(f"{real.name}-other")
    real.engine.remove_volume(real.name)
    real.engine.remove_network(real.name)
    log.configure(dry_run=False)
    for text in recording.commands:
        paste(text)
    assert real.engine.containers({"io.aifo.contract": real.name}) == ()
    assert real.engine.volume(real.name) is None
    assert real.engine.network(real.name) is None


def test_every_command_names_its_engine(real: Scratch, recording: Recording) -> None:
    real.engine.remove_volume(real.name)
    name = real.engine.info().name
    option = {"docker": "--host", "podman": "--url"}[name]
    named = [] if real.endpoint == DEFAULT_ENDPOINT else [option, real.endpoint]
    assert shlex.split(recording.commands[-1]) == [name, *named, "volume", "rm", real.name]
