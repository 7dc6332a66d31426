"""Every spec as the whole command line, and the JSON that is its twin."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aifo_tasks.engine import body, dialect, preview
from aifo_tasks.engine.api import (
    BuildSpec,
    ContainerSpec,
    ImportSpec,
    MountSpec,
    NetworkSpec,
    PublishSpec,
    VolumeSpec,
)

PODMAN = ("podman", "--url", "unix:///run/p.sock")

SIDECAR = ContainerSpec(
    image="aifo-coder-toolchain-node:latest",
    name="aifo-tc-node-s1",
    entrypoint=("/aifo/init", "--idle"),
    command=("1800",),
    environment=(("HOME", "/home/coder"), ("A", "b c")),
    labels=(("io.aifo.kind", "node"), ("io.aifo.session", "s1")),
    mounts=(
        MountSpec(kind="bind", source="/home/u/a,b", target="/workspace"),
        MountSpec(kind="bind", source="/run/init", target="/aifo/init", read_only=True),
        MountSpec(kind="volume", source="modules", target="/workspace/node_modules"),
        MountSpec(kind="tmpfs", target="/tmp", options="exec,size=64m,uid=1000,gid=7"),
        MountSpec(kind="tmpfs", target="/home/coder"),
    ),
    user="1000:7",
    working_dir="/workspace",
    network="aifo-net-s1",
    userns="host",
    hostname="node",
    read_only=True,
    cap_drop=("ALL",),
    cap_add=("CHOWN", "CAP_KILL"),
    security_opt=("no-new-privileges", "apparmor=aifo"),
    pids_limit=4096,
    memory=4 * 1024**3,
    extra_hosts=(("db", "192.0.2.7"),),
)

SIDECAR_WORDS = (
    *("--pull", "never", "--name", "aifo-tc-node-s1", "--network", "aifo-net-s1"),
    *("--user", "1000:7", "--userns", "host", "--workdir", "/workspace", "--hostname", "node"),
    *("--read-only", "--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "CAP_KILL"),
    *("--security-opt", "no-new-privileges", "--security-opt", "apparmor=aifo"),
    *("--pids-limit", "4096", "--memory", "4294967296", "--add-host", "db:192.0.2.7"),
    *("--label", "io.aifo.kind=node", "--label", "io.aifo.session=s1"),
    *("--env", "HOME=/home/coder", "--env", "A=b c"),
    *("--mount", 'type=bind,"source=/home/u/a,b",target=/workspace'),
    *("--mount", "type=bind,source=/run/init,target=/aifo/init,readonly"),
    *("--mount", "type=volume,source=modules,target=/workspace/node_modules"),
    *("--tmpfs", "/tmp:exec,size=64m,uid=1000,gid=7", "--tmpfs", "/home/coder"),
    *("--entrypoint", "/aifo/init", "aifo-coder-toolchain-node:latest", "--idle", "1800"),
)


def test_a_started_container() -> None:
    client = preview.client_argv("docker", "unix:///x.sock")
    assert preview.run_argv(SIDECAR, client, detach=True) == (
        *("docker", "--host", "unix:///x.sock", "run", "--detach", "--rm"),
        *SIDECAR_WORDS,
    )


def test_a_run_is_removed_whatever_the_spec_says() -> None:
    spec = ContainerSpec(image="i", command=("true",), remove=False)
    words = ("--pull", "never", "--network", "bridge", "i", "true")
    assert preview.run_argv(spec) == ("docker", "run", "--rm", *words)
    assert preview.run_argv(spec, detach=True) == ("docker", "run", "--detach", *words)
    assert preview.create_argv(spec) == ("docker", "create", *words)


def test_its_twin_in_json() -> None:
    assert body.container_body(SIDECAR) == {
        "Image": "aifo-coder-toolchain-node:latest",
        "User": "1000:7",
        "WorkingDir": "/workspace",
        "Hostname": "node",
        "Env": ["HOME=/home/coder", "A=b c"],
        "Labels": {"io.aifo.kind": "node", "io.aifo.session": "s1"},
        "Entrypoint": ["/aifo/init"],
        "Cmd": ["--idle", "1800"],
        "HostConfig": {
            "NetworkMode": "aifo-net-s1",
            "AutoRemove": True,
            "UsernsMode": "host",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": ["CAP_CHOWN", "CAP_KILL"],
            "SecurityOpt": ["no-new-privileges", "apparmor=aifo"],
            "PidsLimit": 4096,
            "Memory": 4294967296,
            "ExtraHosts": ["db:192.0.2.7"],
            "Mounts": [
                {"Type": "bind", "Source": "/home/u/a,b", "Target": "/workspace"},
                {"Type": "bind", "Source": "/run/init", "Target": "/aifo/init", "ReadOnly": True},
                {"Type": "volume", "Source": "modules", "Target": "/workspace/node_modules"},
            ],
            "Tmpfs": {"/tmp": "exec,size=64m,uid=1000,gid=7", "/home/coder": ""},
        },
    }


def test_what_is_not_asked_for_is_not_said() -> None:
    spec = ContainerSpec(image="i", remove=False)
    assert body.container_body(spec) == {"Image": "i", "HostConfig": {"NetworkMode": "bridge"}}


def test_podman_is_asked_for_the_same_in_other_words() -> None:
    assert [mount.options for mount in dialect.bridged(SIDECAR).mounts] == [
        "",
        "",
        "",
        "exec,size=64m,U,notmpcopyup",
        "notmpcopyup",
    ]


@pytest.mark.parametrize(
    ("reference", "local"),
    [
        ("name", "localhost/name"),
        ("team/name:1", "localhost/team/name:1"),
        ("localhost/name", "localhost/name"),
        ("host.test/name", "host.test/name"),
        ("host:5000/name", "host:5000/name"),
    ],
)
def test_the_name_podman_gives(reference: str, local: str) -> None:
    assert dialect.local_name(reference) == local


def test_podman_knows_no_private_cache() -> None:
    step = "RUN --mount=type=cache,target=/x,sharing={} true\n"
    assert dialect.dockerfile(step.format("private")) == step.format("locked")


BUILD = BuildSpec(
    tag="t:1",
    context=Path("/con text"),
    dockerfile="FROM base\nRUN <<AIFO_END\ntrue\nAIFO_END",
    arguments=(("BASE", "b"),),
    secrets=(("ca", Path("/etc/ca,1.crt")),),
    contexts=(("more", Path("/m")),),
    labels=(("l", "v w"),),
    platform="linux/arm64",
    no_cache=True,
)
BUILD_WORDS = (
    *("--tag", "t:1", "--platform", "linux/arm64", "--no-cache", "--label", "l=v w"),
    *("--build-arg", "BASE=b", "--secret", 'id=ca,"src=/etc/ca,1.crt"'),
    *("--build-context", "more=/m"),
    *("--file", "-", "/con text"),
)


def test_a_build() -> None:
    assert preview.build_argv(BUILD) == (
        *("docker", "buildx", "build", "--builder", "default"),
        *("--output", "type=docker,compression=zstd,compression-level=1,oci-mediatypes=true"),
        *("--provenance", "false", "--progress", "plain"),
        *BUILD_WORDS,
    )
    assert preview.build_argv(BUILD, PODMAN) == (*PODMAN, "build", *BUILD_WORDS)


PUBLISH = PublishSpec(
    build=BUILD, platforms=("linux/amd64", "linux/arm64"), archive=Path("/a,b.tar")
)


def test_a_build_that_goes_out_of_the_engine() -> None:
    assert preview.publish_argv(PUBLISH, "/m") == (
        *("docker", "buildx", "build", "--builder", "default", "--progress", "plain"),
        *("--provenance", "false", "--platform", "linux/amd64,linux/arm64"),
        *("--metadata-file", "/m"),
        *("--output", 'type=oci,name=t:1,"dest=/a,b.tar",rewrite-timestamp=true'),
        *BUILD_WORDS[4:],
    )


def test_caches_attestations_and_another_builder() -> None:
    spec = dataclasses.replace(
        PUBLISH,
        builder="farm", cache_from=("type=registry,ref=c",),
        cache_to=("type=local,dest=d",), attest=True,
    )  # fmt: skip
    assert preview.publish_argv(spec, "m") == (
        *("docker", "buildx", "build", "--builder", "farm", "--progress", "plain"),
        *("--provenance", "mode=max", "--sbom", "true", "--platform", "linux/amd64,linux/arm64"),
        *("--metadata-file", "m"),
        *("--output", 'type=oci,name=t:1,"dest=/a,b.tar",rewrite-timestamp=true'),
        *("--cache-from", "type=registry,ref=c", "--cache-to", "type=local,dest=d"),
        *BUILD_WORDS[4:],
    )


def test_loading_and_naming_again() -> None:
    assert preview.load_argv("a.tar") == ("docker", "load", "--input", "a.tar")
    assert preview.retag_argv(["r/a@sha256:0"], ["r/a:1", "r/a:2"]) == (
        *("docker", "buildx", "imagetools", "create"),
        *("--tag", "r/a:1", "--tag", "r/a:2", "r/a@sha256:0"),
    )


def test_a_build_for_a_shell_ends_its_document_where_nothing_else_does() -> None:
    first, _, rest = preview.build_text(preview.build_argv(BUILD), BUILD.dockerfile).partition("\n")
    assert first.endswith("--file - '/con text' <<'AIFO_END_'")
    assert rest == BUILD.dockerfile + "\nAIFO_END_"


def test_an_import() -> None:
    spec = ImportSpec(archive=Path("/a b.tar"), tag="t:1", labels=(("l", 'a "b" $c \\'),))
    assert preview.import_argv(spec) == (
        *("docker", "import", "--change", 'LABEL "l"="a \\"b\\" \\$c \\\\"'),
        *("/a b.tar", "t:1"),
    )
    assert preview.import_argv(spec, PODMAN)[5] == 'LABEL "l"="a "b" $c \\"'


def test_volumes_and_networks() -> None:
    volume = VolumeSpec(name="v", labels=(("a", "b c"),), options=(("o", "bind"),))
    assert preview.create_volume_argv(volume) == (
        *("docker", "volume", "create", "--label", "a=b c", "--opt", "o=bind", "v"),
    )
    network = NetworkSpec(name="n", internal=True, labels=(("a", "b"),))
    assert preview.create_network_argv(network, PODMAN) == (
        *(*PODMAN, "network", "create", "--driver", "bridge"),
        *("--internal", "--label", "a=b", "n"),
    )
    assert preview.remove_volume_argv("v") == ("docker", "volume", "rm", "v")
    assert preview.remove_network_argv("n") == ("docker", "network", "rm", "n")


def test_images_and_containers() -> None:
    assert preview.pull_argv("a:1", PODMAN) == (*PODMAN, "pull", "a:1")
    assert preview.remove_image_argv("a:1") == ("docker", "image", "rm", "a:1")
    assert preview.stop_argv("c", 3) == ("docker", "stop", "--time", "3", "c")
    assert preview.remove_container_argv("c") == ("docker", "rm", "--force", "--volumes", "c")


def test_archives() -> None:
    mount = "--mount type=volume,source=v,target=/aifo-volume --entrypoint never-started i"
    assert preview.read_archive_text("v", "i") == (
        f"(id=$(docker create --pull never --network none {mount}) && "
        '{ docker cp "$id":/aifo-volume/. -; '
        'status=$?; docker rm --force "$id" >/dev/null; exit $status; })'
    )
    assert preview.write_archive_text("v", "i", ("podman",)) == (
        f"(id=$(podman create --pull never --network none {mount}) && "
        '{ podman cp --archive=false - "$id":/aifo-volume; '
        'status=$?; podman rm --force "$id" >/dev/null; exit $status; })'
    )
