"""README's commands do what it says; its two first ones are what CI runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aifo_tasks.config import load
from tests.integration.installing import CASES, CPP
from tests.integration.project import BIN, ROOT, Project, docker
from tests.integration.proxied import running
from tests.integration.registries import Registry
from tests.integration.small import Small
from tests.integration.test_mixed import MIXED

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_everyday_commands_work(fresh: Project) -> None:
    (everyday,) = [block for block in blocks("sh") if "doit sidecar_stop" in block]
    commands = [shlex.split(line, comments=True) for line in everyday.splitlines()]
    assert len(commands) == 5
    for program, *words in commands:
        done = fresh.doit(*words, program=program)
        assert done.returncode == 0, (words, done.stderr)
    assert not fresh.sidecars()  # the fourth ended it


def test_shims_and_a_proxy_serve_a_shell(warm: Project, tmp_path: Path) -> None:
    (block,) = [block for block in blocks("sh") if block.startswith("doit run shims")]
    (shims, proxy) = [shlex.split(line, comments=True) for line in block.splitlines()]
    directory = str(tmp_path / "bin")
    laid = warm.doit(
        *[word.replace("$HOME/.local/share/aifo/bin", directory) for word in shims[1:]]
    )
    assert laid.returncode == 0, laid.stderr
    assert directory in laid.stdout
    with running(warm, *proxy[3:]) as serving:
        token = tmp_path / "token"
        token.write_text(serving.token)
        env = {
            **os.environ,
            "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}",
            "AIFO_TOOLEEXEC_URL": serving.url,
            "AIFO_TOOLEEXEC_TOKEN_FILE": str(token),
            "AIFO_WORKSPACE": str(warm.path),
        }
        done = subprocess.run(
            ["node", "-p", "process.cwd()"], cwd=warm.path / "src", env=env,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.stdout, done.returncode) == ("/workspace/src\n", 0), done.stderr


def test_a_shell_calls_the_toolchain(warm: Project) -> None:
    (block,) = [block for block in blocks("sh") if block.startswith("doit run shell")]
    (program, *words) = shlex.split(block, comments=True)
    done = warm.doit(*words, program=program)
    assert done.returncode == 0, done.stderr
    assert "# fail 0" in done.stdout


def test_one_source_file_is_run(fresh: Project) -> None:
    (block,) = [block for block in blocks("sh") if block.startswith("doit run run_code")]
    fresh.write("hello.py", "import sys\nprint('hello', *sys.argv[1:])\n")
    done = fresh.doit(*shlex.split(block)[1:])
    assert (done.stdout, done.returncode) == ("hello you\n", 0), done.stderr
    listed = " ".join(language.code for language in load.load(ROOT).languages)
    assert f"`{listed}`" in README


def test_a_lock_is_kept_to(small: Small) -> None:
    (block,) = [block for block in blocks("sh") if block.startswith("doit run lock")]
    for line in block.splitlines():
        _, _, *words = shlex.split(line.replace(":node", ":small"), comments=True)
        done = small.doit(*words)
        assert done.returncode == 0, (words, done.stderr)


def test_an_image_is_published_and_baked(small: Small, registry: Registry) -> None:
    (block,) = [block for block in blocks("sh") if block.startswith("doit run publish_image")]
    text = block.replace("registry.example", registry.host).replace("node", "small")
    publish, bake = text.splitlines()
    done = small.doit(*shlex.split(publish)[2:])
    assert done.returncode == 0, done.stderr
    words, _, said = bake.partition(">bake.json")
    (small.path / "bake.json").write_text(small.doit(*shlex.split(words)[2:]).stdout)
    docker(*shlex.split(said.partition("docker ")[2]), "--print", cwd=small.path)


def test_the_settings_for_plain_doit_are_those_of_the_examples() -> None:
    (settings,) = blocks("toml")
    for example in ("pnpm-app", "pnpm-workspace"):
        assert (ROOT / "examples" / example / "pyproject.toml").read_text() == settings


def test_the_examples_are_those_that_are_run() -> None:
    """test_installs, test_caches and test_mixed run each as README does."""
    (block,) = [block for block in blocks("sh") if "# npm-app" in block]
    assert re.search(rf"^doit {re.escape(shlex.join(MIXED))} +# mixed\b", block, re.MULTILINE)
    for case in (*CASES, CPP):
        words = f"doit run toolchain:{case.kind} -- {shlex.join(case.works)}"
        assert re.search(rf"^{re.escape(words)} +# {case.example}\b", block, re.MULTILINE)
    for example in (ROOT / "examples").iterdir():
        assert not example.is_dir() or example.name in block


def test_the_file_is_valid_and_followed(fresh: Project) -> None:
    (text,) = blocks("yaml")
    fresh.write("toolchains.yaml", text)
    listed = fresh.doit("run", "toolchains")
    assert "version: 22.12.0 (file: toolchains.yaml)" in listed.stdout


def test_a_mistake_reads_as_described(fresh: Project) -> None:
    (shown,) = re.findall(r"`(toolchains\.yaml:[^`]+)`", README)
    message = " ".join(shown.split()).split(": ", 1)[1]
    fresh.write(
        "toolchains.yaml",
        "extends: builtin\ntoolchains:\n  node:\n    caches:\n"
        "      - {volume: mine, target: cache}\n",
    )
    done = fresh.doit("list")
    assert done.returncode == 3
    assert f"toolchains.yaml:5:32: {message}" in done.stderr


@pytest.mark.parametrize(
    ("words", "ratios"),
    [
        ([], 12),
        (["exec", "--clients", "1", "2", "--burst", "4",
          "--only", "calls", "--only", "burst", "--only", "output"], 23),
        (["installs", "--only", "rust-app"], 3),
    ],
)  # fmt: skip
def test_the_benchmarks_run(
    engine_endpoint: str, tmp_path: Path, words: list[str], ratios: int
) -> None:
    """Every comparison is made and written; what it measures is nobody's test."""
    argv = [sys.executable, "-m", "benchmarks", *words, "--rounds", "1", "--mebibytes", "1"]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [*argv, "--json", tmp_path / "figures.json"], cwd=ROOT, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures["ratios"]) == ratios
    assert all(name in done.stdout for name in figures["ratios"])


@pytest.mark.parametrize("task", re.findall(r"`doit ([a-z_]+)`", README))
def test_every_task_it_names_exists(warm: Project, task: str) -> None:
    listed = warm.doit("list").stdout
    assert re.search(rf"^{task} ", listed, re.MULTILINE)
