"""Validated plain data to the model; no I/O."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aifo_tasks.errors import AifoError
from aifo_tasks.files import resource
from aifo_tasks.model import (
    AuditFile,
    BaseSource,
    Bootstrap,
    Cache,
    Config,
    Image,
    Language,
    Limits,
    Mount,
    Overlay,
    Package,
    Registry,
    Rule,
    Tool,
    Toolchain,
)  # fmt: skip

Data = Mapping[str, Any]  # the schema has been checked; its shape is the model's


def config(data: Data, *, root: Path, files: tuple[Path, ...]) -> Config:
    """The model of data that has passed the schema and the rules, its paths absolute."""
    tools = _tool_names(data["toolchains"])
    toolchains = tuple(
        _toolchain(kind, toolchain, tools) for kind, toolchain in data["toolchains"].items()
    )
    images = {toolchain.kind: toolchain.image for toolchain in toolchains}
    return Config(
        root=root,
        files=files,
        registry=_registry(data.get("registry", {})),
        toolchains=toolchains,
        languages=tuple(
            _language(code, language, images, tools)
            for code, language in data.get("languages", {}).items()
            if language.get("toolchain") in {None, *images}  # one that the project took away
        ),
        notifications_command=words(data.get("notifications-command", ())),
        audit=_audit(data.get("audit", {})),
    )


def size(value: str | int) -> int:
    """A size such as ``512m``, or a number of bytes, as bytes."""
    if isinstance(value, int):
        return value
    exponent = " kmgt".index(value[-1]) if value[-1] in "kmgt" else 0
    return int(value.rstrip("kmgt")) << 10 * exponent


def words(command: str | Sequence[str]) -> tuple[str, ...]:
    """A command's words: a list as it is, text as a shell splits it, or AifoError."""
    if not isinstance(command, str):
        return tuple(command)
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise AifoError("notifications-command", f"is no command: {error}".lower()) from None


def _registry(data: Data) -> Registry:
    return Registry(
        internal_prefix=data.get("internal-prefix", ""),
        mirror_prefix=data.get("mirror-prefix", ""),
        probe=tuple(data.get("probe", ())),
    )


def _audit(data: Data) -> AuditFile:
    default = AuditFile()
    return AuditFile(
        file=Path(data["file"]) if data.get("file") else None,
        size=size(data.get("size", default.size)),
    )


def _toolchain(kind: str, data: Data, tools: tuple[str, ...]) -> Toolchain:
    return Toolchain(
        kind=kind,
        image=_image(data["image"], tools),
        aliases=tuple(data.get("aliases", ())),
        tools=(
            *(_tool(tool) for tool in data.get("tools", ())),
            *(_tool(tool, development=True) for tool in data.get("development-tools", ())),
        ),
        environment=tuple(data.get("environment", {}).items()),
        path=tuple(data.get("path", ())),
        forward=tuple(data.get("forward", ())),
        caches=tuple(Cache(**cache) for cache in data.get("caches", ())),
        overlays=tuple(Overlay(**overlay) for overlay in data.get("overlays", ())),
        managers=tuple(data.get("managers", ())),
        mounts=tuple(_mount(mount) for mount in data.get("mounts", ())),
        limits=_limits(data.get("limits", {})),
        network=data.get("network", "bridge"),
        policy=tuple(_rule(rule) for rule in data.get("policy", ())),
    )


def _language(
    code: str, data: Data, images: Mapping[str, Image], tools: tuple[str, ...]
) -> Language:
    """``images`` are the toolchains', by kind."""
    return Language(
        code=code,
        name=data["name"],
        image=_image(data["image"], tools) if "image" in data else images[data["toolchain"]],
        extension=data["extension"],
        file=data["file"],
        run=tuple(data["run"]),
        aliases=tuple(data.get("aliases", ())),
        compile=tuple(data.get("compile", ())),
        environment=tuple(data.get("environment", {}).items()),
        time=data.get("time", 1),
        memory=data.get("memory", 1),
    )


def _image(data: Data, tools: tuple[str, ...]) -> Image:
    """``tools`` are those that an image with shims has them for."""
    return Image(
        name=data["name"],
        context=Path(data["context"]),
        version=data.get("version"),
        base=tuple(_base(base) for base in data["base"]),
        packages=tuple(_package(package) for package in data.get("packages", ())),
        apt=tuple(data.get("apt", ())),
        arguments=tuple(data.get("arguments", {}).items()),
        libc=data.get("libc", "glibc"),
        shims=tools if data.get("shims") else (),
        shared=resource("images/shared"),
    )


def _tool_names(toolchains: Data) -> tuple[str, ...]:
    """Every declared tool, sorted."""
    lists = ("tools", "development-tools")
    declared = (
        tool for each in toolchains.values() for name in lists for tool in each.get(name, ())
    )
    return tuple(sorted({tool if isinstance(tool, str) else tool["name"] for tool in declared}))


def _base(data: Data) -> BaseSource:
    bootstrap = data.get("bootstrap")
    return BaseSource(
        version=data["version"],
        exact=data.get("exact", False),
        reference=data.get("reference"),
        bootstrap=bootstrap and Bootstrap(
            suite=bootstrap["suite"],
            variant=bootstrap["variant"],
            include=tuple(bootstrap.get("include", ())),
        ),
    )  # fmt: skip


def _package(data: Data) -> Package:
    return Package(
        name=data["name"],
        version=data["version"],
        integrity=data.get("integrity"),
        architecture=data.get("architecture"),
        bin=tuple(data.get("bin", {}).items()),
    )


def _tool(data: str | Data, *, development: bool = False) -> Tool:
    if isinstance(data, str):
        return Tool(name=data, development=development)
    return Tool(
        name=data["name"],
        development=development,
        cwd=data.get("cwd", "workspace"),
        max_seconds=data.get("max-seconds"),
    )


def _rule(data: Data) -> Rule:
    patterns = {
        key.replace("-", "_"): tuple(patterns) for key, patterns in data.items() if key != "tool"
    }
    return Rule(tool=data["tool"], **patterns)


def _mount(data: Data) -> Mount:
    return Mount(
        source=Path(data["source"]),
        target=data["target"],
        read_only=data.get("read-only", True),
    )


def _limits(data: Data) -> Limits:
    """What the file leaves out has the model's own default."""
    given: dict[str, Any] = {key.replace("-", "_"): value for key, value in data.items()}
    for name in ("memory", "tmp_size", "home_size"):
        if name in given:
            given[name] = size(given[name])
    return Limits(**given)
