"""What a user installs, away from the checkout: the wheel, and an editable install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

PROBE = """
import aifo_tasks
from aifo_tasks import files
for name in ("toolchains.yaml", "schema/toolchains.schema.json", "images/node", "shim"):
    print(name, files.resource(name).exists())
print(aifo_tasks.__file__)
"""

PYPROJECT = """
[tool.doit]
loader = "aifo"
"""


def output(*argv: str | Path, directory: Path) -> str:
    """What a command prints; it sees nothing of the checkout or of the calling environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "AIFO_", "TOX_"))
    }
    done = subprocess.run(
        argv, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of programs of a fresh environment that has the package."""
    top = tmp_path_factory.mktemp(request.param)
    output(sys.executable, "-m", "venv", top / "venv", directory=top)
    if request.param == "wheel":
        output(sys.executable, "-m", "build", "--wheel", "--outdir", top, CHECKOUT, directory=top)
        (wheel,) = top.glob("*.whl")
        what: list[str | Path] = [wheel]
    else:
        what = ["-e", CHECKOUT]
    output(top / "venv" / "bin" / "python", "-m", "pip", "install", "-q", *what, directory=top)
    return top / "venv" / "bin"


def test_resources_travel(installed: Path, tmp_path: Path) -> None:
    lines = output(installed / "python", "-c", PROBE, directory=tmp_path).splitlines()
    assert lines[:-1] == [
        "toolchains.yaml True",
        "schema/toolchains.schema.json True",
        "images/node True",
        "shim True",
    ]
    assert lines[-1].startswith(str(CHECKOUT)) is (installed.parent.parent.name[:4] == "edit")


def test_own_program_lists_tasks(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "toolchains.yaml").write_text("extends: builtin\n")
    assert "\ntoolchain:node " in output(installed / "aifo", "list", "--all", directory=tmp_path)


def test_doit_finds_the_loader(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    assert "\ntoolchain:node " in output(installed / "doit", "list", "--all", directory=tmp_path)
