"""The private bridge's address range and its traces in the firewall."""

from __future__ import annotations

import pytest

from aifo_tasks.engine.bridge import RANGES, free_address, hardware_address, rules_of
from aifo_tasks.errors import AifoError

LISTING = """\
-P FORWARD DROP
-N DOCKER
-A FORWARD -o aifo0 -j DOCKER
-A FORWARD -i aifo01 -j ACCEPT
-A FORWARD -i aifo0 ! -o aifo0 -j ACCEPT
-A POSTROUTING -s 172.31.0.0/16 ! -o elsewhere -j MASQUERADE
-A DOCKER -m comment --comment "about aifo0" -j RETURN
"""


@pytest.mark.parametrize(
    ("routes", "address"),
    [
        ([], "172.31.0.1/16"),
        (["default"], "172.31.0.1/16"),
        (["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"], "172.31.0.1/16"),
        (["172.31.5.0/24"], "172.30.0.1/16"),
        (["172.31.255.255"], "172.30.0.1/16"),
        (["172.16.0.0/12"], "192.168.240.1/20"),
        (["172.16.0.0/12", "192.168.240.0/20", "192.168.230.1"], "192.168.208.1/20"),
    ],
)
def test_free_address(routes: list[str], address: str) -> None:
    assert free_address(routes) == address


def test_a_hardware_address_is_one_that_nobody_assigns() -> None:
    """Locally administered, and of one device."""
    assert hardware_address("172.31.0.1/16") == "02:42:ac:1f:00:01"
    assert hardware_address("192.168.240.1/20") == "02:42:c0:a8:f0:01"


def test_no_range_is_left() -> None:
    with pytest.raises(AifoError, match="every private address range has a route already"):
        free_address(RANGES)


def test_only_rules_that_name_the_bridge_or_its_range() -> None:
    assert rules_of(LISTING, ["aifo0", "172.31.0.0/16"]) == (
        "-A FORWARD -o aifo0 -j DOCKER",
        "-A FORWARD -i aifo0 ! -o aifo0 -j ACCEPT",
        "-A POSTROUTING -s 172.31.0.0/16 ! -o elsewhere -j MASQUERADE",
    )
