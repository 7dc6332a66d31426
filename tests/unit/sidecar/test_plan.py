"""A plan and the container it means, compared whole."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from aifo_tasks.engine.api import ContainerSpec, EngineInfo, MountSpec
from aifo_tasks.model import BaseSource, Cache, Image, Limits, Mount, Network, Toolchain
from aifo_tasks.sidecar import plan as sidecar_plan
from aifo_tasks.sidecar.identity import Owner
from aifo_tasks.sidecar.plan import (
    Host,
    Plan,
    between,
    confined,
    container_spec,
    network_name,
    passwd,
)

NODE = Toolchain(
    kind="node",
    image=Image(
        name="test-node",
        context=Path("/context"),
        base=(BaseSource(version="20", reference="node:{version}"),),
    ),
    environment=(("NPM_CONFIG_CACHE", "/home/coder/.cache/npm"),),
    path=("/home/coder/.local/bin",),
    caches=(Cache(volume="node-cache", target="/home/coder/.cache"),),
    limits=Limits(memory=1024, pids=10, tmp_size=2048, home_size=4096, idle_seconds=60),
)
PLAN = Plan(
    toolchain=NODE,
    inputs="i" * 64,
    project=Path("/src/app"),
    session="0123456789ab",
    owner=Owner(uid=1000, gid=100),
    covers=(("/workspace/node_modules", "app-modules"),),
    certificates=Path("/etc/ssl/ca.crt"),
    stamp="/workspace/node_modules/.stamp",
)
HOST = Host(directory=Path("/run/user/1000/aifo/side"), programs=Path("/cache/bin"))
VOLUMES = {"node-cache": "node-cache-u1000", "app-modules": "app-modules"}


def spec_of(plan: Plan) -> ContainerSpec:
    return container_spec(plan, HOST, name="side", volumes=VOLUMES)


def bind(source: str, target: str, *, read_only: bool = False) -> MountSpec:
    return MountSpec(kind="bind", source=source, target=target, read_only=read_only)


def test_the_whole_container() -> None:
    certificates = sidecar_plan.CERTIFICATES
    variables = dict.fromkeys(sidecar_plan.CERTIFICATE_VARIABLES, certificates)
    assert spec_of(PLAN) == ContainerSpec(
        image="test-node:latest",
        name="side",
        entrypoint=("/opt/aifo/bin/aifo-init",),
        command=(
            *("--socket", "/run/aifo/init.sock", "--spec", PLAN.digest()),
            *("--stamp", "/workspace/node_modules/.stamp", "--idle", "60"),
            *("--workspace", "/workspace"),
        ),
        environment=tuple(
            sorted(
                {
                    "HOME": "/home/coder",
                    "LANG": "C.UTF-8",
                    "NPM_CONFIG_CACHE": "/home/coder/.cache/npm",
                    "PATH": "/home/coder/.local/bin:" + sidecar_plan.SYSTEM_PATH,
                    "USER": "coder",
                    **variables,
                }.items()
            )
        ),
        labels=sidecar_plan.labels(PLAN),
        mounts=(
            bind("/src/app", "/workspace"),
            bind("/cache/bin", "/opt/aifo/bin", read_only=True),
            bind("/run/user/1000/aifo/side/run", "/run/aifo"),
            bind("/run/user/1000/aifo/side/proxies", "/run/aifo-proxy", read_only=True),
            bind("/run/user/1000/aifo/side/passwd", "/etc/passwd", read_only=True),
            bind("/run/user/1000/aifo/side/group", "/etc/group", read_only=True),
            bind("/etc/ssl/ca.crt", certificates, read_only=True),
            MountSpec(
                kind="tmpfs", target="/tmp", options="rw,exec,nosuid,nodev,size=2048,mode=1777"
            ),
            MountSpec(
                kind="tmpfs",
                target="/home/coder",
                options="rw,exec,nosuid,nodev,size=4096,mode=0755,uid=1000,gid=100",
            ),
            MountSpec(kind="volume", source="node-cache-u1000", target="/home/coder/.cache"),
            MountSpec(kind="volume", source="app-modules", target="/workspace/node_modules"),
        ),
        user="1000:100",
        working_dir="/workspace",
        network="bridge",
        hostname="node-0123456789ab",
        read_only=True,
        cap_drop=("ALL",),
        security_opt=("no-new-privileges",),
        pids_limit=10,
        memory=1024,
    )


def test_an_approved_mount_comes_last() -> None:
    data = Mount(source=Path("/data"), target="/data")
    plan = replace(PLAN, toolchain=replace(NODE, mounts=(data,)))
    assert spec_of(plan).mounts[-1] == bind("/data", "/data", read_only=True)


def test_without_its_caches_a_sidecar_can_write_where_they_would_be() -> None:
    plan = replace(PLAN, toolchain=replace(NODE, caches=()), scratch=("/home/coder/a/b", "/go"))
    own = "rw,exec,nosuid,nodev,size=4096,mode=0755,uid=1000,gid=100"
    mounts = [mount for mount in spec_of(plan).mounts if mount.kind == "tmpfs"]
    assert mounts[1:] == [
        MountSpec(kind="tmpfs", target=target, options=own)
        for target in ("/home/coder", "/home/coder/a", "/home/coder/a/b", "/go")
    ]


def test_a_session_that_ends_with_its_process_says_so() -> None:
    assert dict(sidecar_plan.labels(replace(PLAN, owned=True)))["io.aifo.owner"] == str(os.getpid())
    assert "io.aifo.owner" not in dict(sidecar_plan.labels(PLAN))


def test_the_places_of_sockets_and_further_hosts_are_the_plan_s() -> None:
    spec = spec_of(
        replace(PLAN, socket_dir="/run/init", proxy_dir="/run/aifo", hosts=(("host", "192.0.2.1"),))
    )
    assert bind("/run/user/1000/aifo/side/run", "/run/init") in spec.mounts
    assert bind("/run/user/1000/aifo/side/proxies", "/run/aifo", read_only=True) in spec.mounts
    assert spec.command[:2] == ("--socket", "/run/init/init.sock")
    assert spec.extra_hosts == (("host", "192.0.2.1"),)


def test_root_cannot_give_files_away() -> None:
    plan = replace(PLAN, owner=Owner(uid=0, gid=0))
    assert ("TAR_OPTIONS", "--no-same-owner") in spec_of(plan).environment


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": "j" * 64},
        {"owner": Owner(uid=1001, gid=100)},
        {"covers": ()},
        {"certificates": None},
        {"proxies": (("HTTP_PROXY", "http://proxy"),)},
        {"network": "none"},
        {"owned": True},
        {"shims": ("node",)},
        {"toolchain": replace(NODE, limits=replace(NODE.limits, memory=2048))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_fact_is_in_the_digest(change: dict[str, object]) -> None:
    assert replace(PLAN, **change).digest() != PLAN.digest()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["/home/coder/.cache"], ()),
        (["/go"], ()),
        (
            ["/home/coder/.cargo/registry", "/home/coder/.cargo/git"],
            ("/home/coder/.cargo",),
        ),
        (["/home/coder/.cache", "/home/coder/.cache/ccache/x"], ("/home/coder/.cache/ccache",)),
        (["/home/coder/a/b/c"], ("/home/coder/a", "/home/coder/a/b")),
    ],
)
def test_directories_between_home_and_a_target(targets: list[str], expected: tuple[str]) -> None:
    assert between(targets) == expected


def info(**changes: object) -> EngineInfo:
    base = EngineInfo(name="docker", version="1", platform="linux/amd64", endpoint="unix:///x")
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("engine", "profile", "security"),
    [
        (info(), "aifo-coder", ("no-new-privileges",)),
        (info(apparmor=True), "", ("no-new-privileges",)),
        (info(apparmor=True), "aifo-coder", ("no-new-privileges", "apparmor=aifo-coder")),
    ],
)
def test_confined_where_the_engine_can(
    engine: EngineInfo, profile: str, security: tuple[str, ...]
) -> None:
    assert confined(spec_of(PLAN), engine, apparmor=profile).security_opt == security


@pytest.mark.parametrize(
    ("owner", "users", "groups"),
    [
        (Owner(uid=0, gid=0), ["root"], ["root"]),
        (Owner(uid=1000, gid=100), ["root", "coder"], ["root", "coder"]),
        (Owner(uid=65534, gid=65534), ["root", "nobody"], ["root", "nogroup"]),
    ],
)
def test_the_user_has_a_name(owner: Owner, users: list[str], groups: list[str]) -> None:
    passwd_file, group_file = passwd(owner)
    entries = [line.split(":") for line in passwd_file.decode().splitlines()]
    assert {entry[0] for entry in entries} >= set(users)
    assert [entry[3] for entry in entries if entry[2] == str(owner.uid)] == [str(owner.gid)]
    assert {line.split(":")[0] for line in group_file.decode().splitlines()} >= set(groups)


@pytest.mark.parametrize(
    ("network", "environ", "expected"),
    [
        ("bridge", {"AIFO_SESSION_NETWORK": "mine"}, "bridge"),
        ("none", {}, "none"),
        ("install-only", {}, "none"),
        ("isolated", {}, "aifo-net-0123456789ab"),
        ("internal", {"AIFO_SESSION_NETWORK": "mine"}, "mine"),
    ],
)
def test_the_network_of_a_session(network: Network, environ: dict[str, str], expected: str) -> None:
    assert network_name(network, "0123456789ab", environ) == expected
