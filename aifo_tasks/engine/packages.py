"""Debian packages that are missing: what to install from where, and doing it with consent."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from aifo_tasks import files, log, process
from aifo_tasks.engine.endpoint import is_root
from aifo_tasks.errors import AifoError, EngineError, ProcessError
from aifo_tasks.value import dataclass

SOURCES = Path("/etc/apt/sources.list.d/aifo.sources")
PINS = Path("/etc/apt/preferences.d/aifo")
POLICY = Path("/usr/sbin/policy-rc.d")
ARCHIVE = "http://deb.debian.org/debian"

ENGINE = ("docker.io", "docker-buildx", "iproute2", "iptables", "ca-certificates")
NEWER = ("docker.io", "docker-cli", "docker-buildx", "containerd")
"""What a Debian 12 takes from Debian 13; runc stays its own, the newer one needs more."""

APT_GET = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=600")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What apt needs: files (path and text) to write first, then packages to install."""

    packages: tuple[str, ...]
    files: tuple[tuple[Path, str], ...] = ()


def read_os_release(text: str) -> dict[str, str]:
    """The variables of an os-release file, quotes removed."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}


def engine_plan(system: Mapping[str, str], archive: str = ARCHIVE) -> Plan:
    """How to install Docker on the system that os-release describes.

    ``archive`` is the mirror a Debian 12 takes Debian 13's packages from: its own Docker
    has no BuildKit client. Raises AifoError for a system that has no such packages.
    """
    name, version = system.get("ID", ""), system.get("VERSION_ID", "999")
    major = int(version.partition(".")[0]) if version.partition(".")[0].isdigit() else 0
    if name == "debian" and major == 12:
        return Plan(
            packages=("docker-cli", *ENGINE),
            files=((SOURCES, _sources(archive)), (PINS, _pins())),
        )
    if name == "debian" and major > 12:
        return Plan(packages=("docker-cli", *ENGINE))
    if name == "ubuntu" and major >= 22:
        return Plan(packages=ENGINE)
    raise AifoError(
        "engine",
        f"no packages are known for {system.get('PRETTY_NAME', 'this system')}",
        hint="install Docker or Podman as your system's documentation says",
    )


def install_engine() -> None:
    """Install Docker's packages; no service is started. AifoError says what stands against it."""
    system = _system()
    plan = engine_plan(system, _archive(system))
    _require_root(plan.packages)
    log.step("engine", f"installing {' '.join(plan.packages)}")
    for path, text in plan.files:
        if not path.exists() or path.read_text() != text:
            files.write_atomically(path, text.encode(), mode=0o644)
    with _no_services():
        _install(plan.packages)
    if not log.is_dry_run() and (error := missing_buildx()):
        raise error


def ensure_program(name: str, *, consent: bool) -> None:
    """Install the Debian package of that name unless its program is there.

    Raises AifoError with the command to type when there is no consent, no root or no apt.
    """
    if shutil.which(name):
        return
    if not consent:
        raise AifoError(name, "is not installed", hint=_by_hand((name,)))
    _require_root((name,))
    log.step("packages", f"installing {name}")
    _install((name,))


def missing_buildx() -> EngineError | None:
    """The error to raise where ``docker buildx`` does not work; None when it does."""
    if not shutil.which("docker"):
        return EngineError("docker", "is not installed", hint=_client_by_hand(_system()))
    try:
        process.run(["docker", "buildx", "version"], timeout=30)
    except ProcessError:
        return EngineError(
            "docker buildx", "the plugin that builds images is missing",
            hint=_client_by_hand(_system()),
        )  # fmt: skip
    return None


def _install(packages: tuple[str, ...]) -> None:
    def show(line: str) -> None:
        log.progress("packages", line)

    update = [*APT_GET, "update"]
    install = [*APT_GET, "install", "-y", "--no-install-recommends", *packages]
    if log.command(shlex.join(update)):
        try:
            process.stream(update, show)
        except ProcessError as error:  # one source of several may be out of reach
            log.warn("packages", f"apt-get update: {error.problem}")
    if log.command(shlex.join(install)):
        process.stream(install, show)


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting a service: the engine we start is our own."""
    if POLICY.exists():
        yield
        return
    files.write_atomically(POLICY, b"#!/bin/sh\nexit 101\n", mode=0o755)
    try:
        yield
    finally:
        if log.command(f"rm -f {POLICY}"):
            POLICY.unlink(missing_ok=True)


def _require_root(packages: tuple[str, ...]) -> None:
    if not shutil.which("apt-get"):
        raise AifoError(
            packages[0], "is not installed, and there is no apt-get to install it with",
            hint=f"install {' '.join(packages)} with your system's package manager",
        )  # fmt: skip
    if not is_root():
        raise AifoError(packages[0], "is not installed", hint=_by_hand(packages))


def _by_hand(packages: tuple[str, ...]) -> str:
    sudo = "" if is_root() else "sudo "
    return f"{sudo}apt-get install -y --no-install-recommends {' '.join(packages)}"


def _client_by_hand(system: Mapping[str, str]) -> str:
    if system.get("ID") == "ubuntu":
        return _by_hand(("docker.io", "docker-buildx"))
    if system.get("ID") == "debian" and system.get("VERSION_ID", "999") != "12":
        return _by_hand(("docker-cli", "docker-buildx"))
    return "install docker's client and its buildx plugin (Debian has both from version 13 on)"


def _system() -> dict[str, str]:
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        if path.exists():
            return read_os_release(path.read_text())
    return {}


def _archive(system: Mapping[str, str]) -> str:
    """The mirror this machine takes its own release from: nothing else may be in reach."""
    if not shutil.which("apt-get"):
        return ARCHIVE
    shown = process.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
         "Created-By: Packages"],
        check=False,
    )  # fmt: skip
    wanted = [system.get("VERSION_CODENAME", ""), "main"]
    for line in shown.text.splitlines():
        words = line.split()
        if words[1:] == wanted:
            return words[0].rstrip("/")
    return ARCHIVE


def _sources(archive: str) -> str:
    return f"""\
Types: deb
URIs: {archive}
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def _pins() -> str:
    return f"""\
Package: *
Pin: release n=trixie
Pin-Priority: 100

Package: {" ".join(NEWER)}
Pin: release n=trixie
Pin-Priority: 900
"""
