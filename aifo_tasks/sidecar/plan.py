"""What a sidecar is started with: a plan of declared facts, and the container spec it means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aifo_tasks import __version__, files
from aifo_tasks.model import HOME, SHIMS, WORKSPACE, Network, Toolchain
from aifo_tasks.sidecar.identity import OWNER, Owner, user_label
from aifo_tasks.value import dataclass

if TYPE_CHECKING:  # the warm path makes a plan but no spec
    from aifo_tasks.engine.api import ContainerSpec, EngineInfo, MountSpec

INIT = f"{SHIMS}/aifo-init"
SOCKET_DIR = "/run/aifo"
PROXY_DIR = "/run/aifo-proxy"
CERTIFICATES = "/opt/aifo/ca-certificates.crt"
CERTIFICATE_VARIABLES = (
    "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO", "GIT_SSL_CAINFO",
)  # fmt: skip
SHAPE = "4"
"""Raised when the same plan is made into another container, or its init learns new words."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides what a sidecar is, known without asking the engine.

    ``inputs`` is the digest of the image's declared inputs, ``covers`` maps container
    directories to the volumes over them, ``proxies`` are environment variables, ``binds``
    host directories outside the project and their targets, ``scratch`` places that are writable
    and end with the sidecar, ``network`` the engine's network to join, ``caller`` another user
    who may call tools besides root and the owner.

    ``owned`` marks what belongs to a session that ends with its process. Init's socket lies in
    ``socket_dir``; proxies that tools may call lie in ``proxy_dir``. ``shims`` are the tools
    that are shims at /opt/aifo/bin, ``hosts`` further host names and their addresses.
    """

    toolchain: Toolchain
    inputs: str
    project: Path
    session: str
    owner: Owner
    covers: tuple[tuple[str, str], ...] = ()
    proxies: tuple[tuple[str, str], ...] = ()
    binds: tuple[tuple[Path, str], ...] = ()
    scratch: tuple[str, ...] = ()
    network: str = "bridge"
    certificates: Path | None = None
    stamp: str = ""
    caller: int = 0
    owned: bool = False
    socket_dir: str = SOCKET_DIR
    proxy_dir: str = PROXY_DIR
    shims: tuple[str, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """64 hexadecimal digits; init answers a greeting with them."""
        return files.digest(__version__, SHAPE, repr(self))

    @property
    def name(self) -> str:
        """The sidecar's name while no other spec of this kind runs."""
        return f"aifo-tc-{self.toolchain.short}-{self.session}"

    def environment(self) -> dict[str, str]:
        """What every tool in the sidecar finds set."""
        path = ":".join((*self.toolchain.path, SYSTEM_PATH))
        found = {"HOME": HOME, "PATH": path, "LANG": "C.UTF-8", "USER": "coder"}
        found.update(self.proxies)
        if self.certificates is not None:
            found.update(dict.fromkeys(CERTIFICATE_VARIABLES, CERTIFICATES))
        if self.owner.uid == 0:  # root without CAP_CHOWN cannot give files away
            found["TAR_OPTIONS"] = "--no-same-owner"
        found.update(self.toolchain.environment)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The host's side of one sidecar: files of the run directory that it mounts, and the
    directory of our programs."""

    directory: Path
    programs: Path

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "init.sock"

    @property
    def socket_dir(self) -> Path:
        """The only directory of these that the sidecar can write."""
        return self.directory / "run"

    @property
    def proxies(self) -> Path:
        """Where a proxy that serves this sidecar puts its socket and the sidecar's token."""
        return self.directory / "proxies"

    @property
    def passwd(self) -> Path:
        return self.directory / "passwd"

    @property
    def group(self) -> Path:
        return self.directory / "group"


def session_network(session: str) -> str:
    """The network that belongs to a session."""
    return f"aifo-net-{session}"


def network_name(network: Network, session: str, environ: Mapping[str, str]) -> str:
    """The name of the network that a toolchain's ``network:`` means in this session.

    ``AIFO_SESSION_NETWORK`` names the session's network, which is joined if it is there.
    """
    if network in {"bridge", "none"}:
        return network
    if network == "install-only":
        return "none"
    return environ.get("AIFO_SESSION_NETWORK") or session_network(session)


def container_spec(
    plan: Plan, host: Host, *, name: str, volumes: Mapping[str, str]
) -> ContainerSpec:
    """The hardened container of a plan; pure.

    ``volumes`` gives the actual name of each declared volume (another user's name differs).
    """
    from aifo_tasks.engine.api import ContainerSpec

    limits = plan.toolchain.limits
    command = ["--socket", f"{plan.socket_dir}/init.sock", "--spec", plan.digest()]
    if plan.stamp:
        command += ["--stamp", plan.stamp]
    command += ["--idle", str(limits.idle_seconds), "--workspace", WORKSPACE]
    if plan.caller:
        command += ["--caller", str(plan.caller)]
    return ContainerSpec(
        image=plan.toolchain.image.reference,
        name=name,
        entrypoint=(INIT,),
        command=tuple(command),
        environment=tuple(sorted(plan.environment().items())),
        labels=labels(plan),
        mounts=_mounts(plan, host, volumes),
        user=plan.owner.text,
        working_dir=WORKSPACE,
        network=plan.network,
        hostname=f"{plan.toolchain.short}-{plan.session}",
        read_only=True,
        cap_drop=("ALL",),
        security_opt=("no-new-privileges",),
        pids_limit=limits.pids,
        memory=limits.memory,
        extra_hosts=plan.hosts,
    )


def labels(plan: Plan) -> tuple[tuple[str, str], ...]:
    """How a later process finds this sidecar, and knows that it is its own."""
    owner = ((OWNER, str(os.getpid())),) if plan.owned else ()
    return (
        *owner,
        ("io.aifo.kind", plan.toolchain.kind),
        ("io.aifo.project", str(plan.project)),
        ("io.aifo.run-dir", str(files.run_dir())),
        ("io.aifo.session", plan.session),
        ("io.aifo.spec", plan.digest()),
        ("io.aifo.user", user_label()),
        ("io.aifo.version", __version__),
    )


def confined(spec: ContainerSpec, info: EngineInfo, *, apparmor: str) -> ContainerSpec:
    """The spec under an AppArmor profile, where the engine has AppArmor and ``apparmor`` names
    one."""
    from dataclasses import replace

    if not (info.apparmor and apparmor):
        return spec
    return replace(spec, security_opt=(*spec.security_opt, f"apparmor={apparmor}"))


def passwd(owner: Owner) -> tuple[bytes, bytes]:
    """Content of /etc/passwd and /etc/group: the owner resolves, whatever the image knows."""
    users = {0: "root", 65534: "nobody"}
    groups = {0: "root", 65534: "nogroup"}
    users.setdefault(owner.uid, "coder")
    groups.setdefault(owner.gid, "coder")
    user_lines = [
        f"{user}:x:{uid}:{owner.gid if uid == owner.uid else uid}::{HOME}:/bin/sh"
        for uid, user in users.items()
    ]
    group_lines = [f"{group}:x:{gid}:" for gid, group in groups.items()]
    return ("\n".join(user_lines) + "\n").encode(), ("\n".join(group_lines) + "\n").encode()


def _mounts(plan: Plan, host: Host, volumes: Mapping[str, str]) -> tuple[MountSpec, ...]:
    from aifo_tasks.engine.api import MountSpec

    owner, limits = plan.owner, plan.toolchain.limits
    caches = [(cache.target, cache.volume) for cache in plan.toolchain.caches]
    targets = [*(target for target, _volume in caches), *plan.scratch]
    own = f"uid={owner.uid},gid={owner.gid}"
    mounts = [
        MountSpec(kind="bind", source=str(plan.project), target=WORKSPACE),
        MountSpec(kind="bind", source=str(host.programs), target=SHIMS, read_only=True),
        MountSpec(kind="bind", source=str(host.socket_dir), target=plan.socket_dir),
        MountSpec(kind="bind", source=str(host.proxies), target=plan.proxy_dir, read_only=True),
        MountSpec(kind="bind", source=str(host.passwd), target="/etc/passwd", read_only=True),
        MountSpec(kind="bind", source=str(host.group), target="/etc/group", read_only=True),
    ]
    if plan.certificates is not None:
        mounts.append(
            MountSpec(
                kind="bind",
                source=str(plan.certificates),
                target=CERTIFICATES,
                read_only=True,
            )
        )
    mounts += [
        MountSpec(kind="tmpfs", target="/tmp", options=_tmpfs(limits.tmp_size, "mode=1777")),  # noqa: S108  # the container's
        MountSpec(kind="tmpfs", target=HOME, options=_tmpfs(limits.home_size, f"mode=0755,{own}")),
    ]
    mounts += [
        MountSpec(kind="tmpfs", target=path, options=_tmpfs(limits.home_size, f"mode=0755,{own}"))
        for path in (*between(targets), *plan.scratch)
    ]
    mounts += [
        MountSpec(kind="volume", source=volumes[volume], target=target)
        for target, volume in (*caches, *plan.covers)
    ]
    mounts += [MountSpec(kind="bind", source=str(s), target=t) for s, t in plan.binds]
    mounts += [
        MountSpec(
            kind="bind", source=str(mount.source), target=mount.target, read_only=mount.read_only
        )
        for mount in plan.toolchain.mounts
    ]
    return tuple(mounts)


def between(targets: list[str]) -> tuple[str, ...]:
    """Every directory between the home directory and a mount target: the engine would make
    them as root."""
    found = set()
    for target in targets:
        parts = Path(target).parents
        found |= {str(path) for path in parts if str(path).startswith(HOME + "/")}
    return tuple(sorted(found - set(targets)))


def _tmpfs(size: int, more: str) -> str:
    return f"rw,exec,nosuid,nodev,size={size},{more}"
