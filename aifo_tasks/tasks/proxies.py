"""The task that lets shells and containers call this project's toolchains."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aifo_tasks import log
from aifo_tasks.errors import UsageError
from aifo_tasks.tasks import project
from aifo_tasks.tasks.actions import ToolAction

if TYPE_CHECKING:  # only the task that runs pays for the domain
    from aifo_tasks.session.proxying import Address
    from aifo_tasks.session.workplace import Workplace


def task_proxy() -> dict[str, Any]:
    """let shells and containers call this project's toolchains, until ^C"""
    return {
        "actions": [ToolAction(serve, interactive=True)],
        "params": project.params("TOOLCHAINS", "TRANSPORT", "PULL", "TOOLCHAIN_CACHE"),
    }


def serve(
    *, toolchains: Sequence[str], transport: str, pull: str, toolchain_cache: bool, yes: bool
) -> int:
    """Serve the toolchains asked for, or those that the project uses."""
    from aifo_tasks.session import proxying

    kinds = _chosen(toolchains) if toolchains else _declared()
    works = [project.workplace(kind, caches=toolchain_cache) for kind in kinds]
    if not toolchains:
        works = _used(works)
    choices = project.choices(pull=pull, yes=yes)
    served = ", ".join(work.toolchain.kind for work in works)
    return proxying.run(
        works,
        choices,
        transport="tcp" if transport == "tcp" else "unix",
        announce=lambda address: _announce(address, served),
    )


def _declared() -> list[str]:
    return [each.kind for each in project.config().toolchains]


def _chosen(words: Sequence[str]) -> list[str]:
    """The kinds that these words mean."""
    kinds = []
    for word in words:
        toolchain = project.config().toolchain(word)
        if toolchain is None:
            hint = f"known: {', '.join(_declared())}"
            raise UsageError("TOOLCHAINS", f"there is no toolchain '{word}'", hint=hint)
        kinds.append(toolchain.kind)
    return list(dict.fromkeys(kinds))


def _used(works: list[Workplace]) -> list[Workplace]:
    """Those whose package managers the project uses; if none, the only one there is."""
    used = [work for work in works if work.install is not None]
    if not used and len(works) > 1:
        hint = f"TOOLCHAINS={works[0].toolchain.kind}"
        raise UsageError("TOOLCHAINS", "the project's files name none", hint=hint)
    return used or works


def _announce(address: Address, kinds: str) -> None:
    log.step("proxy", f"takes calls for {kinds} at {address.url}")
    shell = {
        "AIFO_TOOLEEXEC_URL": address.url,
        "AIFO_TOOLEEXEC_TOKEN_FILE": str(address.token_file),
        "AIFO_WORKSPACE": str(project.config().root.resolve()),
    }
    words = [f"{name}={shlex.quote(value)}" for name, value in shell.items()]
    log.step("a shell", f"export {' '.join(words)}")
    if address.socket is None:
        port = address.url.rpartition(":")[2]
        url = f"http://host.docker.internal:{port}"
        options = ["--env", f"AIFO_TOOLEEXEC_URL={url}"]
    else:
        options = [
            "--mount", f"type=bind,source={address.socket},target=/run/aifo",
            "--env", "AIFO_TOOLEEXEC_URL=unix:///run/aifo/toolexec.sock",
        ]  # fmt: skip
    options += [
        "--mount", f"type=bind,source={address.token_file},target=/run/aifo-token,readonly",
        "--env", "AIFO_TOOLEEXEC_TOKEN_FILE=/run/aifo-token",
    ]  # fmt: skip
    log.step("a container", f"docker run {shlex.join(options)} IMAGE")
