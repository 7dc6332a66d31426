"""Tests a user can run: does a container reach the toolchains on this machine?"""

from __future__ import annotations

from typing import Any, Literal

from aifo_tasks.model import WORKSPACE, Toolchain
from aifo_tasks.tasks import project, serving
from aifo_tasks.tasks.actions import ToolAction

_SCRIPT = """
failed=0
for tool; do
    if version=$("$tool" --version 2>&1) || version=$("$tool" version 2>&1); then
        printf '%s: %s\\n' "$tool" "${version%%
*}"
    else
        printf '%s: exit status %s: %s\\n' "$tool" $? "$version" >&2
        failed=1
    fi
done
env -u AIFO_TOOLEEXEC_TOKEN_FILE -u AIFO_TOOLEXEC_TOKEN_FILE AIFO_TOOLEEXEC_TOKEN=wrong \\
    "$1" --version >/dev/null 2>&1
if test $? = 86; then
    echo 'a wrong token: refused'
else
    echo 'a wrong token was not refused' >&2
    failed=1
fi
exit $failed
"""


def task_test_proxy_smoke() -> dict[str, Any]:
    """call a tool of each toolchain from a plain container, over TCP"""
    return _task("tcp")


def task_test_proxy_unix() -> dict[str, Any]:
    """call a tool of each toolchain from a plain container, over a unix socket"""
    return _task("unix")


def _task(transport: Literal["unix", "tcp"]) -> dict[str, Any]:
    return {
        "actions": [ToolAction(call, interactive=True, transport=transport)],
        "params": project.params(*serving.VARIABLES, "IMAGE"),
    }


def call(transport: Literal["unix", "tcp"], **options: Any) -> int:
    """Print the version of a tool of each toolchain; 0 when all answered."""
    from aifo_tasks.session import shell

    works = serving.works(options)
    tools = [_tool(work.toolchain) for work in works]
    wish = shell.Wish(
        command=("sh", "-c", _SCRIPT, "sh", *tools),
        cwd=WORKSPACE,
        image=options["image"],
        transport=transport,
    )
    return shell.run(works, serving.choices(options), wish)


def _tool(toolchain: Toolchain) -> str:
    """One that is called by this toolchain's name alone."""
    own = [tool.name for tool in toolchain.tools if not tool.development]
    return (own or [tool.name for tool in toolchain.tools])[0]
