"""The private engine's own network bridge: a range nobody uses, and removal without a trace."""

from __future__ import annotations

import ipaddress
import json
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from aifo_tasks import process
from aifo_tasks.errors import AifoError

RANGES = (
    *(f"172.{n}.0.0/16" for n in range(31, 17, -1)),
    *(f"192.168.{n}.0/20" for n in range(240, 0, -16)),
)
"""Where docker looks for addresses too, the other way round: two engines seldom meet."""


def free_address(routes: Iterable[str]) -> str:
    """The first address, with its prefix length, of a range that overlaps none of the routes.

    A route is a destination as ``ip route`` prints it: ``default``, an address or a network.
    Raises AifoError when every range is taken.
    """
    used = [ipaddress.ip_network(route, strict=False) for route in routes if route != "default"]
    for text in RANGES:
        network = ipaddress.IPv4Network(text)
        if not any(network.overlaps(other) for other in used if other.version == 4):
            return f"{network[1]}/{network.prefixlen}"
    raise AifoError(
        "engine", "every private address range has a route already",
        hint="export DOCKER_HOST=unix:///path/of/an/engine.sock",
    )  # fmt: skip


def hardware_address(address: str) -> str:
    """A bridge's hardware address, made of its address with a prefix length, as docker makes it.

    One that nobody has set changes when containers come and go, and those that stay lose their
    way out until they ask for it again.
    """
    packed = ipaddress.IPv4Interface(address).ip.packed
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *packed))


def rules_of(listing: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those lines of ``iptables -S`` that add a rule naming one of these bridges or ranges."""
    wanted = set(names)
    return tuple(
        line
        for line in listing.splitlines()
        if line.startswith("-A ") and wanted & set(shlex.split(line))
    )


def is_there(bridge: str) -> bool:
    """True when the machine has a network device of this name."""
    return (Path("/sys/class/net") / bridge).exists()


def make(bridge: str) -> None:
    """Make the bridge and give it an address, unless it is there with one."""
    if is_there(bridge):
        if _range(bridge):
            return
        remove(bridge)
    address = free_address(_routes())
    own = hardware_address(address)
    process.change(["ip", "link", "add", bridge, "address", own, "type", "bridge"])
    process.change(["ip", "address", "add", address, "dev", bridge])
    process.change(["ip", "link", "set", bridge, "up"])


def remove(bridge: str) -> None:
    """Remove the bridge and the firewall rules that name it; none being there is no error."""
    names = [bridge]
    if is_there(bridge):
        names += _range(bridge)
        process.change(["ip", "link", "delete", bridge])
    for table in ("filter", "nat"):
        listing = process.run(["iptables", "-w", "-t", table, "-S"], check=False).text
        for rule in rules_of(listing, names):
            argv = ["iptables", "-w", "-t", table, "-D", *shlex.split(rule)[1:]]
            process.change(argv, check=False)  # somebody may have removed it by now


def _routes() -> list[str]:
    """Destinations of every routing table; none where a dry run has not installed ``ip``."""
    if not shutil.which("ip"):
        return []
    shown = process.run(["ip", "-4", "-json", "route", "show", "table", "all"]).stdout
    return [route["dst"] for route in json.loads(shown)]


def _range(bridge: str) -> list[str]:
    """The bridge's networks, as ``172.31.0.0/16``."""
    shown = process.run(["ip", "-4", "-json", "address", "show", "dev", bridge]).stdout
    return [
        str(ipaddress.ip_network(f"{each['local']}/{each['prefixlen']}", strict=False))
        for device in json.loads(shown)
        for each in device.get("addr_info", [])
    ]
