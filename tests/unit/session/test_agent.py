"""The agent's container, as far as it can be told without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from aifo_tasks.errors import AifoError
from aifo_tasks.model import BaseSource, Config, Image, Network, Registry, Tool, Toolchain
from aifo_tasks.overlay import Place
from aifo_tasks.session import agent
from aifo_tasks.session.workplace import Workplace
from aifo_tasks.sidecar.identity import Owner
from aifo_tasks.sidecar.plan import Host, Plan, container_spec

PLACE = Place(
    project=Path("/src/app"), kind="x", uid=1000, machine="m", platform="linux/amd64",
    libc="glibc", version="",
)  # fmt: skip


def toolchain(kind: str, *tools: str, forward: tuple[str, ...] = ()) -> Toolchain:
    base = (BaseSource(version="1", reference="base:{version}"),)
    return Toolchain(
        kind=kind,
        image=Image(name=f"test-{kind}", context=Path("/context"), base=base),
        tools=tuple(Tool(name=tool) for tool in tools),
        forward=forward,
    )


TOOLCHAINS = (
    toolchain("node", "node", "npm", forward=("NODE_ENV",)),
    toolchain("go", "go", forward=("GO*", "CC")),
    toolchain("rust", "cargo"),
)


@pytest.fixture
def works() -> list[Workplace]:
    """Two of three toolchains of one project, each with a volume over a directory."""
    config = Config(root=Path("/src/app"), files=(), registry=Registry(), toolchains=TOOLCHAINS)
    return [
        Workplace(
            config=config,
            place=PLACE,
            plan=Plan(
                toolchain=each,
                inputs="",
                project=Path("/src/app"),
                session="aaaaaaaaaaaa",
                owner=Owner(uid=1000, gid=100),
                covers=((f"/workspace/{each.kind}", f"volume-{each.kind}"),),
                proxies=(("HTTP_PROXY", "http://proxy"),),
            ),
        )
        for each in TOOLCHAINS[:2]
    ]


@pytest.mark.parametrize(
    ("asked", "transport", "expected"),
    [
        (["bridge"], "unix", "bridge"),
        (["bridge", "isolated"], "unix", "isolated"),
        (["internal", "isolated", "bridge"], "unix", "internal"),
        (["bridge", "install-only"], "unix", "none"),
        (["none", "internal"], "unix", "none"),
        (["bridge"], "tcp", "isolated"),
        (["internal", "bridge"], "tcp", "internal"),
    ],
)
def test_the_agent_gets_as_far_as_the_toolchain_that_gets_least_far(
    asked: Sequence[Network], transport: agent.Transport, expected: str
) -> None:
    assert agent.network(asked, transport) == expected


@pytest.mark.parametrize("network", ["none", "install-only"])
def test_nothing_is_reached_over_tcp_where_nothing_can_be(network: Network) -> None:
    with pytest.raises(AifoError, match=r"network: none") as caught:
        agent.network(["bridge", network], "tcp")
    assert caught.value.hint == "TRANSPORT=unix"


def test_the_agent_sees_what_all_its_toolchains_see(works: list[Workplace]) -> None:
    plan = agent.plan(works, "0123456789ab", image="debian:1", network="isolated")
    assert plan.shims == ("cargo", "go", "node", "npm")  # those of one that is not there too
    assert plan.toolchain.forward == ("CC", "GO*", "NODE_ENV")
    assert plan.covers == (("/workspace/node", "volume-node"), ("/workspace/go", "volume-go"))
    assert (plan.name, plan.network, plan.owned) == (
        "aifo-tc-shell-0123456789ab", "aifo-net-0123456789ab", True,
    )  # fmt: skip
    environment = plan.environment()
    assert environment["PATH"].split(":")[0] == "/opt/aifo/bin"
    assert environment["AIFO_TOOLEEXEC_URL"] == "unix:///run/aifo/toolexec.sock"
    assert environment["AIFO_TOOLEXEC_TOKEN_FILE"] == "/run/aifo/token"
    assert environment["HTTP_PROXY"] == "http://proxy"
    host = Host(directory=Path("/run/side"), programs=Path("/bin"))
    spec = container_spec(plan, host, name="a", volumes={v: v for _, v in plan.covers})
    assert spec.image == "debian:1"
    mounts = {mount.target: mount.source for mount in spec.mounts if mount.kind != "tmpfs"}
    assert mounts["/run/aifo"] == "/run/side/proxies"
    assert mounts["/run/aifo-init"] == "/run/side/run"
    assert mounts["/workspace/go"] == "volume-go"


def test_what_notifies_has_a_shim_that_knows_it(works: list[Workplace]) -> None:
    plan = agent.plan(works, "0123456789ab", image="x", network="bridge", notify="say")
    assert "say" in plan.shims
    assert plan.environment()["AIFO_TOOLEEXEC_NOTIFY"] == "say"


def test_over_tcp_it_knows_the_gateway_by_name(works: list[Workplace]) -> None:
    plan = agent.plan(works, "0123456789ab", image="debian:1", network="isolated")
    plan = agent.over_tcp(plan, "192.0.2.1", 4321)
    url = "http://host.docker.internal:4321/exec"
    assert {plan.environment()[f"AIFO_{name}_URL"] for name in ("TOOLEEXEC", "TOOLEXEC")} == {url}
    assert plan.environment()["PATH"].startswith("/opt/aifo/bin:")
    assert plan.hosts == (("host.docker.internal", "192.0.2.1"),)
