"""What apt is told on which system."""

from __future__ import annotations

import pytest

from aifo_tasks.engine import packages, podman
from aifo_tasks.engine.packages import PINS, SOURCES, Plan, engine_plan, read_os_release
from aifo_tasks.errors import AifoError

COMMON = ("docker.io", "docker-buildx", "iproute2", "iptables", "ca-certificates")


def test_read_os_release() -> None:
    text = "# a comment\nID=debian\nVERSION_ID=\"12\"\nNAME='Debian GNU/Linux'\n\nnonsense\n"
    assert read_os_release(text) == {"ID": "debian", "VERSION_ID": "12", "NAME": "Debian GNU/Linux"}


def test_debian_12_takes_docker_from_debian_13_and_nothing_else() -> None:
    sources = """\
Types: deb
URIs: http://mirror.example/debian
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
    pins = """\
Package: *
Pin: release n=trixie
Pin-Priority: 100

Package: docker.io docker-cli docker-buildx containerd
Pin: release n=trixie
Pin-Priority: 900
"""
    assert engine_plan(
        {"ID": "debian", "VERSION_ID": "12"}, "http://mirror.example/debian"
    ) == Plan(packages=("docker-cli", *COMMON), files=((SOURCES, sources), (PINS, pins)))


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("debian", "13", ("docker-cli", *COMMON)),
        ("debian", None, ("docker-cli", *COMMON)),
        ("ubuntu", "22.04", COMMON),
        ("ubuntu", "24.04", COMMON),
    ],
)
def test_newer_systems_use_their_own_archive(
    name: str, version: str | None, expected: tuple[str, ...]
) -> None:
    system = {"ID": name} | ({"VERSION_ID": version} if version else {})
    assert engine_plan(system) == Plan(packages=expected)


@pytest.mark.parametrize(
    "system",
    [
        {},
        {"ID": "debian", "VERSION_ID": "11"},
        {"ID": "debian", "VERSION_ID": "twelve"},
        {"ID": "ubuntu", "VERSION_ID": "20.04"},
        {"ID": "fedora", "VERSION_ID": "41", "PRETTY_NAME": "Fedora Linux 41"},
    ],
)
def test_other_systems_are_refused(system: dict[str, str]) -> None:
    with pytest.raises(AifoError) as caught:
        engine_plan(system)
    name = system.get("PRETTY_NAME", "this system")
    assert str(caught.value) == (
        f"engine: no packages are known for {name} "
        "(hint: install Docker or Podman as your system's documentation says)"
    )


def test_a_program_that_is_there_needs_no_consent() -> None:
    packages.ensure_program("sh", consent=False)


def test_a_missing_program_without_consent() -> None:
    with pytest.raises(AifoError) as caught:
        packages.ensure_program("aifo-no-such-program", consent=False)
    assert str(caught.value).startswith("aifo-no-such-program: is not installed (hint: ")
    assert str(caught.value).endswith(
        "apt-get install -y --no-install-recommends aifo-no-such-program)"
    )


@pytest.mark.parametrize(
    ("open_files", "capabilities", "expected"),
    [
        (20_000, 0x1FFFEFFFFFF, True),
        (20_000, 0x1FFFFFFFFFF, False),
        (1_048_576, 0x1FFFEFFFFFF, False),
        (-1, 0, False),
    ],
)
def test_podman_gets_modest_limits_only_where_it_must(
    open_files: int, capabilities: int, expected: bool
) -> None:
    assert podman.needs_modest_limits(open_files, capabilities) is expected
