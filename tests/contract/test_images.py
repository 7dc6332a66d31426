"""Images, as every engine keeps them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.engine.api import BuildSpec, ImageState, ImportSpec
from aifo_tasks.errors import ConflictError, EngineError, NotFoundError
from aifo_tasks.image import oci
from tests.contract.conftest import Recording, Scratch


def silent(line: str) -> None:
    """Progress nobody watches."""


def build_spec(scratch: Scratch, context: Path, dockerfile: str, **options: object) -> BuildSpec:
    return BuildSpec(
        tag=f"{scratch.name}:1",
        context=context,
        dockerfile=f"FROM {scratch.image}\n{dockerfile}",
        **options,  # type: ignore[arg-type]
    )


def test_an_imported_image_has_its_labels_and_the_engines_platform(scratch: Scratch) -> None:
    state = scratch.engine.image(scratch.image)
    assert state is not None
    assert state.id.startswith("sha256:")
    assert state.platform == scratch.engine.info().platform
    assert state.labels == {"made.by": "test"}


def test_what_is_not_there_is_none(scratch: Scratch) -> None:
    assert scratch.engine.image(f"{scratch.name}:1") is None


def test_a_name_without_a_tag_means_latest(scratch: Scratch, root_archive: Path) -> None:
    made = scratch.engine.import_image(ImportSpec(archive=root_archive, tag=scratch.name))
    assert scratch.engine.image(f"{scratch.name}:latest") == made
    scratch.engine.remove_image(scratch.name)
    assert scratch.engine.image(scratch.name) is None


def test_labels_keep_every_character(scratch: Scratch, root_archive: Path) -> None:
    odd = "two words, \"quoted\" \\ $HOME ${x} 'single' é=ü"
    made = scratch.engine.import_image(
        ImportSpec(archive=root_archive, tag=f"{scratch.name}:1", labels=(("odd", odd),))
    )
    assert made.labels == {"odd": odd}


def test_other_labels_make_another_image(scratch: Scratch, root_archive: Path) -> None:
    tag = f"{scratch.name}:1"
    first = scratch.engine.import_image(
        ImportSpec(archive=root_archive, tag=tag, labels=(("number", "1"),))
    )
    second = scratch.engine.import_image(
        ImportSpec(archive=root_archive, tag=tag, labels=(("number", "2"),))
    )
    assert first.id != second.id
    assert scratch.engine.image(tag) == second


def test_no_archive_no_image(scratch: Scratch, tmp_path: Path) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(b"this is no archive" * 100)
    with pytest.raises(EngineError):
        scratch.engine.import_image(ImportSpec(archive=archive, tag=f"{scratch.name}:1"))


def test_an_archive_is_loaded_under_its_name(
    scratch: Scratch, root_archive: Path, tmp_path: Path
) -> None:
    archive, tag = tmp_path / "image.tar", f"localhost/{scratch.name}:1"
    platform = scratch.engine.info().platform
    oci.write(archive, tag, [(platform, root_archive)])
    state = scratch.engine.load(archive, tag)
    assert state == scratch.engine.image(tag)
    assert state.platform == platform


@pytest.fixture
def own(scratch: Scratch, root_archive: Path) -> str:
    """An image of the test's own, which others do not need afterwards."""
    name = f"{scratch.name}:1"
    scratch.engine.import_image(ImportSpec(archive=root_archive, tag=name))
    return name


def test_what_was_saved_can_be_loaded(scratch: Scratch, own: str, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    scratch.engine.save(own, archive)
    scratch.engine.remove_image(own)
    assert scratch.engine.image(own) is None
    state = scratch.engine.load(archive, own)
    assert state == scratch.engine.image(own)
    assert state.platform == scratch.engine.info().platform


def test_nobody_answers_a_push(scratch: Scratch, own: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        name = f"127.0.0.1:{listener.getsockname()[1]}/{scratch.name}:1"
    scratch.engine.tag(own, name)
    with pytest.raises(EngineError) as caught:
        scratch.engine.push(name, silent)
    scratch.engine.remove_image(name)
    assert caught.value.subject == name


def test_a_further_name_is_the_same_image(scratch: Scratch, own: str) -> None:
    name = f"localhost/{scratch.name}:2"
    state = scratch.engine.tag(own, name)
    assert state == scratch.engine.image(name)
    original = scratch.engine.image(own)
    assert original is not None
    assert state.id == original.id
    scratch.engine.remove_image(name)
    assert scratch.engine.image(own) is not None


def test_what_is_not_there_gets_no_name(scratch: Scratch) -> None:
    with pytest.raises(NotFoundError):
        scratch.engine.tag(f"{scratch.name}:none", f"{scratch.name}:2")


def test_what_is_no_image_is_not_loaded(scratch: Scratch, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"this is no archive" * 100)
    with pytest.raises(EngineError):
        scratch.engine.load(archive, f"localhost/{scratch.name}:1")


def test_removing_what_is_not_there_is_no_error(scratch: Scratch) -> None:
    scratch.engine.remove_image(f"{scratch.name}:1")


def test_an_image_a_container_runs_is_not_removed(scratch: Scratch) -> None:
    scratch.engine.start(scratch.container("wait", name=scratch.name))
    with pytest.raises(ConflictError):
        scratch.engine.remove_image(scratch.image)
    assert scratch.engine.image(scratch.image) is not None


def test_a_build_inherits_and_adds_labels(scratch: Scratch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    spec = build_spec(
        scratch, tmp_path, "COPY file /file\nLABEL inner=one\n", labels=(("outer", "a b"),)
    )
    state = scratch.engine.build(spec, silent)
    assert state == scratch.engine.image(spec.tag)
    assert {name: state.labels.get(name) for name in ("made.by", "inner", "outer")} == {
        "made.by": "test",
        "inner": "one",
        "outer": "a b",
    }


def test_a_build_takes_its_base_as_an_argument(scratch: Scratch, tmp_path: Path) -> None:
    spec = BuildSpec(
        tag=f"{scratch.name}:1",
        context=tmp_path,
        dockerfile="ARG BASE\nFROM ${BASE}\nLABEL a=b\n",
        arguments=(("BASE", scratch.image),),
    )
    assert scratch.engine.build(spec, silent).labels["made.by"] == "test"


def test_a_build_shows_its_steps(scratch: Scratch, tmp_path: Path) -> None:
    lines: list[str] = []
    spec = build_spec(scratch, tmp_path, 'RUN ["/probe", "print", "from inside"]\n')
    scratch.engine.build(spec, lines.append)
    assert any("RUN" in line and "/probe" in line for line in lines)
    assert not any(line.startswith(("#", " ")) or not line for line in lines)


def test_a_failed_build_says_where_and_leaves_no_image(scratch: Scratch, tmp_path: Path) -> None:
    spec = build_spec(scratch, tmp_path, 'RUN ["/probe", "exit", "9"]\n')
    with pytest.raises(EngineError) as caught:
        scratch.engine.build(spec, silent)
    assert caught.value.subject == spec.tag
    assert "/probe" in caught.value.problem
    assert scratch.engine.image(spec.tag) is None


def test_a_build_without_its_base_fails(scratch: Scratch, tmp_path: Path) -> None:
    base = f"localhost/{scratch.name}:none"
    spec = BuildSpec(tag=f"{scratch.name}:1", context=tmp_path, dockerfile=f"FROM {base}\n")
    with pytest.raises(EngineError):
        scratch.engine.build(spec, silent)


def test_a_dry_run_only_says_what_it_would_do(
    scratch: Scratch, tmp_path: Path, root_archive: Path, recording: Recording
) -> None:
    log.configure(dry_run=True)
    nothing = ImageState(id="", platform="")
    tag = f"{scratch.name}:1"
    assert scratch.engine.build(build_spec(scratch, tmp_path, ""), silent) == nothing
    assert scratch.engine.import_image(ImportSpec(archive=root_archive, tag=tag)) == nothing
    assert scratch.engine.pull(tag, silent) == nothing
    scratch.engine.remove_image(scratch.image)
    log.configure(dry_run=False)
    assert scratch.engine.image(tag) is None
    assert scratch.engine.image(scratch.image) is not None
    assert [" build " in text for text in recording.commands] == [True, False, False, False]
    assert [text.rpartition(" ")[2] for text in recording.commands[1:]] == [tag, tag, scratch.image]
