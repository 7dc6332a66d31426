"""What CI runs: only tasks and images that exist, README's commands, with few rights."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

CHECKOUT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))
OWN_IMAGE = re.compile(r"\baifo-[a-z0-9-]*toolchain[a-z0-9-]*")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> dict[str, Any]:
    parsed = YAML(typ="safe").load(request.param)
    assert isinstance(parsed, dict)
    return parsed


@pytest.fixture(scope="session")
def tasks() -> set[str]:
    """Every task of this repository, sub-tasks included, as doit itself lists them."""
    done = subprocess.run(
        [Path(sys.executable).with_name("doit"), "list", "--all", "--quiet"],
        cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return {line.split()[0] for line in done.stdout.splitlines() if line}


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def called_tasks(script: str) -> list[str]:
    """The tasks that the ``doit`` and ``aifo`` lines of a script run."""
    found = []
    for line in script.splitlines():
        words = shlex.split(line, comments=True)
        if not words or Path(words[0]).name not in {"doit", "aifo"} or words[1:2] != ["run"]:
            continue
        for word in words[2:]:
            if word == "--":
                break
            if not word.startswith("-") and "=" not in word:
                found.append(word)
    return found


def test_called_tasks() -> None:
    script = "x\naifo run a:b PUSH=1 --push c -- d\n../bin/doit run e # f\ndoit list\n"
    assert called_tasks(script) == ["a:b", "c", "e"]


def test_the_workflows_are_there() -> None:
    assert {path.name for path in WORKFLOWS} >= {"ci.yml", "images.yml", "pnpm-node-ci.yml"}


def test_every_called_task_exists(workflow: dict[str, Any], tasks: set[str]) -> None:
    called = {task for step in steps(workflow) for task in called_tasks(step.get("run", ""))}
    assert called <= tasks


def test_node_workflow_goes_the_whole_way() -> None:
    text = (CHECKOUT / ".github" / "workflows" / "pnpm-node-ci.yml").read_text()
    assert [
        task for line in re.findall(r"run: (.*)", text) for task in called_tasks(line)
    ] == ["warm_cache:node", "install:node", "toolchain:node", "sidecar_stop"]  # fmt: skip


def test_every_image_is_declared(workflow: dict[str, Any]) -> None:
    declared = (CHECKOUT / "toolchains.yaml").read_text()
    named = set(OWN_IMAGE.findall(str(workflow)))
    for job in workflow["jobs"].values():
        container = job.get("container", ())
        named |= {container} if isinstance(container, str) else set(container[:1])
        named |= {service["image"] for service in job.get("services", {}).values()}
    assert {name for name in named if name not in declared} == set()


def test_ci_runs_the_commands_of_the_readme() -> None:
    readme = (CHECKOUT / "README.md").read_text().splitlines()
    script = (CHECKOUT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in readme if ".venv/bin/" in line][:2]
    assert [line.strip() for line in script if line.strip() in commands] == commands


def test_rights_and_concurrency(workflow: dict[str, Any]) -> None:
    """Only what pushes images may write, and is not cancelled in the middle of it."""
    assert workflow["permissions"] == {"contents": "read"}
    publishes = workflow["name"] == "images"
    assert workflow["concurrency"]["cancel-in-progress"] is not publishes
    more = [job["permissions"] for job in workflow["jobs"].values() if "permissions" in job]
    count = len(workflow["jobs"]) if publishes else 0
    assert more == [{"contents": "read", "packages": "write"}] * count


def test_no_credential_stays_and_none_is_on_a_command_line(workflow: dict[str, Any]) -> None:
    for job in workflow["jobs"].values():
        scripts = [step.get("run", "") for step in job["steps"]]
        assert not any("${{" in script for script in scripts)
        assert all(
            step["with"]["persist-credentials"] is False
            for step in job["steps"] if "actions/checkout" in step.get("uses", "")
        )  # fmt: skip
        if any("docker login" in script for script in scripts):
            assert job["steps"][-1] == {"if": "always()", "run": "docker logout ghcr.io"}


def test_images_are_built_on_machines_of_their_own_platform_and_merged() -> None:
    found = YAML(typ="safe").load(CHECKOUT / ".github" / "workflows" / "images.yml")
    publish, merge = found["jobs"]["publish"], found["jobs"]["merge"]
    runners = {each["arch"]: each["runner"] for each in publish["strategy"]["matrix"]["include"]}
    assert runners == {"amd64": "ubuntu-24.04", "arm64": "ubuntu-24.04-arm"}
    assert merge["needs"] == "publish"
    called = [task for step in steps(found) for task in called_tasks(step.get("run", ""))]
    assert called == ["publish_image", "merge_image"]
    (line,) = [step["run"] for step in merge["steps"] if "merge_image" in step.get("run", "")]
    platforms = ",".join(f"linux/{name}" for name in runners)
    assert shlex.split(line)[-1] == f"PLATFORMS={platforms}"


def test_actions_are_pinned_to_a_major_version(workflow: dict[str, Any]) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", name)] == []
