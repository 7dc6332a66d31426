"""The words of toolchains.yaml as frozen values; no I/O.

Every tuple keeps the order of the file. Paths are absolute host paths, targets absolute
container paths. Sizes are bytes, times seconds.
"""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import Literal

from aifo_tasks import locked
from aifo_tasks.value import dataclass

Network = Literal["bridge", "isolated", "internal", "none", "install-only"]
Libc = Literal["glibc", "musl"]
Architecture = Literal["amd64", "arm64"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """A root file system made from the Debian archive when no registry gives a base."""

    suite: str
    variant: str
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSource:
    """One place a base image may come from: exactly one of reference and bootstrap.

    ``version`` is the tool's version this source gives when none is asked for; ``{version}``
    in ``reference`` stands for the one asked for. With ``exact`` the template can install any
    other version over a bootstrap that is given to the last number.
    """

    version: str
    reference: str | None = None
    bootstrap: Bootstrap | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of the toolchain's own registry that an image installs, pinned by version.

    ``integrity`` is the registry's own checksum: npm's ``sha512-…``, PyPI's ``sha256:…``,
    ``h1:…`` of a Go module. ``architecture`` is the only one it is for; None: all. ``bin``
    maps a command to its file inside the package.
    """

    name: str
    version: str
    integrity: str | None = None
    architecture: Architecture | None = None
    bin: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a toolchain's image is made of.

    ``context`` holds the Dockerfile template, ``shared`` what the templates of all images have
    in common, if there is such a thing. ``version`` is the tool's version the file asks for;
    None leaves it to the base source that is taken. ``shims`` are the tools for which it has
    shims before all others. ``taken`` names an image that is used as it is. ``pin`` is the base
    that toolchains.lock names, ``published`` the digests it names of the image itself; when
    ``strict``, none other will do.
    """

    name: str
    context: Path
    base: tuple[BaseSource, ...]
    version: str | None = None
    packages: tuple[Package, ...] = ()
    apt: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    libc: Libc = "glibc"
    shims: tuple[str, ...] = ()
    taken: str = ""
    shared: Path | None = None
    pin: locked.Base | None = None
    published: tuple[str, ...] = ()
    strict: bool = False

    @property
    def reference(self) -> str:
        """The name the image has in the engine."""
        return self.taken or f"{self.name}:{self.tag}"

    @property
    def tag(self) -> str:
        """The version that is asked for, so that several stand side by side; else latest."""
        return (self.version or "latest").replace("+", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A named volume that projects share."""

    volume: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A dependency directory that a volume covers: ``directory`` is relative to the project.

    With ``members`` every workspace member's directory of that name is covered too.
    """

    directory: str
    volume: str
    members: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A command the toolchain offers; ``cwd`` says where it may be called from.

    ``max_seconds`` None leaves the length of its calls to the toolchain's limits.
    """

    name: str
    development: bool = False
    cwd: Literal["workspace", "any"] = "workspace"
    max_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a tool may be called with through the proxy: patterns, an empty list lets all in."""

    tool: str
    allow_arguments: tuple[str, ...] = ()
    deny_arguments: tuple[str, ...] = ()
    allow_cwd: tuple[str, ...] = ()
    deny_cwd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A host directory outside the project that an approved file asks for."""

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one sidecar may use; ``idle_seconds`` 0 never ends it, ``max_seconds`` None never
    ends a call."""

    memory: int = 4 * 1024**3
    pids: int = 4096
    tmp_size: int = 2 * 1024**3
    home_size: int = 1024**3
    idle_seconds: int = 1800
    max_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """One toolchain: everything about it that stands in toolchains.yaml.

    ``environment`` is set in the sidecar, ``forward`` lists patterns of the caller's
    variables that pass into it, ``managers`` the package managers it may install with.
    """

    kind: str
    image: Image
    aliases: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    forward: tuple[str, ...] = ()
    caches: tuple[Cache, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    managers: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    limits: Limits = field(default_factory=Limits)
    network: Network = "bridge"
    policy: tuple[Rule, ...] = ()

    @property
    def short(self) -> str:
        """The name of its tasks and directories: without a hyphen (``cpp`` for c-cpp)."""
        return self.kind.removeprefix("c-").replace("-", "_")

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that means it on a command line."""
        return (self.kind, self.short, *self.aliases)

    @property
    def variable(self) -> str:
        """Its name inside environment variables: RUST NODE PYTHON CPP GO."""
        return self.short.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How one source file of a language is compiled and run.

    ``file`` is the name the source gets, ``extension`` the one such files have. ``image`` is
    the image of the toolchain the file names, or one of the language's own. The words of
    ``compile`` (empty: nothing is compiled) and ``run`` may hold ``{file}``, ``{workdir}``
    and ``{build}``. ``environment`` is added to PATH, HOME and TMPDIR. ``time`` and
    ``memory`` multiply the base limits.
    """

    code: str
    name: str
    image: Image
    extension: str
    file: str
    run: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    compile: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    time: float = 1
    memory: float = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where references are looked for; a blank prefix means none."""

    internal_prefix: str = ""
    mirror_prefix: str = ""
    probe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFile:
    """Where each call is recorded: None is the project's own file in the user's state directory.

    Beyond ``size`` bytes it becomes the older one, and a new one begins.
    """

    file: Path | None = None
    size: int = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A validated toolchains.yaml and where it stands.

    ``root`` is the project's directory, ``files`` the extends chain, the project's own first
    (empty when the project has none and the shipped toolchains serve).
    ``notifications_command`` is what ``/notify`` runs; empty: nothing. ``lock`` is what
    toolchains.lock says, ``lock_problems`` all that is wrong with it.
    """

    root: Path
    files: tuple[Path, ...]
    registry: Registry
    toolchains: tuple[Toolchain, ...]
    languages: tuple[Language, ...] = ()
    notifications_command: tuple[str, ...] = ()
    audit: AuditFile = AuditFile()
    lock: locked.Lock | None = None
    lock_problems: tuple[str, ...] = ()

    def toolchain(self, word: str) -> Toolchain | None:
        """The toolchain whose kind, short name or alias is ``word``."""
        for toolchain in self.toolchains:
            if word in toolchain.words:
                return toolchain
        return None

    def language(self, word: str) -> Language | None:
        """The language whose code or alias is ``word``, whatever its case."""
        for language in self.languages:
            if word.lower() in (language.code, *language.aliases):
                return language
        return None


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
"""Variables of the host that builds and sidecars get as they are; in no layer, label or digest."""

PLACEHOLDERS = ("{file}", "{workdir}", "{build}")
"""What a language's commands say for the source, its directory, and where products go."""

WORKSPACE = "/workspace"
HOME = "/home/coder"
SHIMS = "/opt/aifo/bin"
"""Where our programs and the shims are in a container."""

KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
