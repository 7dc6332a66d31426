"""The task that lets shells and containers call this project's toolchains."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from aifo_tasks import log
from aifo_tasks.tasks import project, serving
from aifo_tasks.tasks.actions import ToolAction

if TYPE_CHECKING:  # only the task that runs pays for the domain
    from aifo_tasks.session.proxying import Address


def task_proxy() -> dict[str, Any]:
    """let shells and containers call this project's toolchains, until ^C"""
    return {
        "actions": [ToolAction(serve, interactive=True)],
        "params": project.params(*serving.VARIABLES),
    }


def serve(**options: Any) -> int:
    """Serve the toolchains asked for, or those that the project uses."""
    from aifo_tasks.session import proxying

    works = serving.works(options)
    served = ", ".join(work.toolchain.kind for work in works)
    return proxying.run(
        works,
        serving.choices(options),
        transport=serving.transport(options),
        announce=lambda address: _announce(address, served),
    )


def _announce(address: Address, kinds: str) -> None:
    log.step("proxy", f"takes calls for {kinds} at {address.url}")
    shell = {
        "AIFO_TOOLEEXEC_URL": address.url,
        "AIFO_TOOLEEXEC_TOKEN_FILE": str(address.token_file),
        "AIFO_WORKSPACE": str(project.config().root.resolve()),
    }
    words = [f"{name}={shlex.quote(value)}" for name, value in shell.items()]
    log.step("a shell", f"export {' '.join(words)}")
    options = ["--mount", f"type=bind,source={address.directory},target=/run/aifo,readonly"]
    url = "unix:///run/aifo/toolexec.sock"
    if address.network:
        port = address.url.removesuffix("/exec").rpartition(":")[2]
        url = f"http://host.docker.internal:{port}/exec"
        options += ["--network", address.network]
        options += ["--add-host", f"host.docker.internal:{address.gateway}"]
    options += ["--env", f"AIFO_TOOLEEXEC_URL={url}"]
    options += ["--env", "AIFO_TOOLEEXEC_TOKEN_FILE=/run/aifo/token"]
    log.step("a container", f"docker run {shlex.join(options)} IMAGE")
