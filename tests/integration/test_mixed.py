"""One repository in three languages, whose make calls each one's tools where they are."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.project import Project

MIXED = ("run", "shell", "TOOLCHAINS=rust,python,node", "--", "make")


@pytest.fixture
def mixed(engine_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("mixed") / "mixed", "mixed")
    yield project
    project.stop()


def make(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    done = project.doit(*MIXED, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_one_make_calls_every_toolchain(mixed: Project) -> None:
    """It runs in one sidecar and calls the tools of the others; of those, maturin calls cargo."""
    before = set(mixed.tree())
    done = make(mixed)
    assert "Finished `dev` profile" in done.stderr
    assert "test result: ok. 2 passed" in done.stdout
    assert "3 passed" in done.stdout
    assert "# pass 3" in done.stdout
    page = (mixed.path / "words.html").read_text()
    assert re.findall(r"<li[^>]*>([a-z]+)</li>", page)[:3] == ["ship", "green", "grey"]
    assert sorted(name.split("-")[2] for name in mixed.sidecars()) == ["node", "python", "rust"]
    made = {path for path in set(mixed.tree()) - before if "__pycache__" not in path}
    assert {path for path in made if not path.startswith("target/")} == {
        "target", "words/native.abi3.so", "words.html", "node_modules", ".venv",
    }  # fmt: skip

    again = make(mixed, "words.html")
    assert again.stdout == "make: 'words.html' is up to date.\n", again.stderr
