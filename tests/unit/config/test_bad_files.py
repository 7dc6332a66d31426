"""Every bad file in tests/data/config says exactly what the text beside it holds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks.config.load import load
from aifo_tasks.errors import AifoError, ConfigError, UnsafePathError

DATA = Path(__file__).parents[2] / "data" / "config"
BAD_FILES = sorted(DATA.glob("*.yaml"))


@pytest.mark.parametrize("path", BAD_FILES, ids=lambda path: path.stem)
def test_a_bad_file_gives_its_exact_message(path: Path, project: Path) -> None:
    shutil.copy(path, project / "toolchains.yaml")
    with pytest.raises(ConfigError) as caught:
        load(project)
    assert f"{caught.value}\n" == path.with_suffix(".txt").read_text()


def test_every_message_belongs_to_a_file() -> None:
    assert [path.stem for path in BAD_FILES] == sorted(path.stem for path in DATA.glob("*.txt"))
    assert len(BAD_FILES) >= 45


def refusal(project: Path, content: str | bytes, name: str = "toolchains.yaml") -> str:
    """What loading the project says once the file holds this."""
    data = content if isinstance(content, bytes) else content.encode()
    (project / name).write_bytes(data)
    with pytest.raises(AifoError) as caught:
        load(project)
    return str(caught.value)


def test_a_file_may_not_be_larger_than_a_mebibyte(project: Path) -> None:
    message = refusal(project, "#" + "x" * 1024**2)
    assert message == "toolchains.yaml:1:1: the file is larger than 1 MiB"


def test_a_mount_of_the_project_itself_is_pointless(project: Path) -> None:
    mount = f"{{source: {project}/data, target: /data}}"
    assert refusal(project, f"extends: builtin\ntoolchains: {{node: {{mounts: [{mount}]}}}}\n") == (
        "toolchains.yaml:2:39: toolchains.node.mounts[0].source: "
        f"{project}/data lies in the project, which is mounted at /workspace already"
    )


def test_no_calls_are_recorded_in_the_project(project: Path) -> None:
    assert refusal(project, f"extends: builtin\naudit: {{file: {project}/calls}}\n") == (
        f"toolchains.yaml:2:15: audit.file: {project}/calls lies in the project, where tools write"
    )


@pytest.mark.parametrize(
    ("extends", "problem"),
    [
        (
            "none.yaml",
            "there is no file 'none.yaml' (hint: write builtin for the shipped toolchains)",
        ),
        ("sub/../../x", "'sub/../../x' leads out of the project"),
        ("/etc/passwd", "'/etc/passwd' leads out of the project"),
        ("toolchains.yaml", "the files extend one another: toolchains.yaml → toolchains.yaml"),
    ],
)  # fmt: skip
def test_extends_names_a_file_of_the_project(project: Path, extends: str, problem: str) -> None:
    message = refusal(project, f"extends: {extends}\n")
    assert message == f"toolchains.yaml:1:10: extends: {problem}"


def test_files_that_extend_one_another_are_refused_where_the_circle_closes(project: Path) -> None:
    (project / "sub").mkdir()
    (project / "sub" / "a.yaml").write_text("extends: ../toolchains.yaml\n")
    message = refusal(project, "extends: sub/a.yaml\n")
    circle = "toolchains.yaml → sub/a.yaml → toolchains.yaml"
    assert message == f"sub/a.yaml:1:10: extends: the files extend one another: {circle}"


def test_findings_of_all_files_come_at_once_the_project_s_own_first(project: Path) -> None:
    (project / "team.yaml").write_text(
        "extends: builtin\ntoolchains:\n  node:\n    network: bridg\n    path: [a]\n"
    )
    message = refusal(project, "extends: team.yaml\ntoolchains:\n  node: {limits: {pids: 1.5}}\n")
    assert message.splitlines() == [
        "toolchains.yaml:3:25: toolchains.node.limits.pids: expected a whole number, found 1.5",
        "team.yaml:4:14: toolchains.node.network: expected one of none, internal, install-only, isolated, bridge, found 'bridg' (hint: did you mean bridge?)",  # noqa: E501
        "team.yaml:5:12: toolchains.node.path[0]: expected an absolute path, found 'a' (hint: begin with /, and leave out . and .. and : and ,)",  # noqa: E501
    ]


def test_a_value_that_is_replaced_is_not_looked_at(project: Path) -> None:
    (project / "team.yaml").write_text("extends: builtin\ntoolchains: {node: {network: x}}\n")
    (project / "toolchains.yaml").write_text(
        "extends: team.yaml\ntoolchains: {node: {network: none}}\n"
    )
    assert load(project).toolchains[0].network == "none"


def test_a_link_is_not_followed(project: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("extends: builtin\n")
    (project / "toolchains.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(UnsafePathError, match="a link on this path may lead out of the project"):
        load(project)


def test_an_extended_link_is_not_followed(project: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: builtin\n")
    (project / "sub").symlink_to(tmp_path)
    (project / "toolchains.yaml").write_text("extends: sub/a.yaml\n")
    with pytest.raises(UnsafePathError, match="a link on this path may lead out of the project"):
        load(project)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_only_a_regular_file_is_read(project: Path, make: Callable[[Path], None]) -> None:
    make(project / "toolchains.yaml")
    with pytest.raises(AifoError, match=r"^toolchains.yaml: is not a regular file$"):
        load(project)


def test_the_project_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(AifoError, match=r"/nowhere: is not a directory$"):
        load(tmp_path / "nowhere")
