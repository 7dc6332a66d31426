"""toolchains.lock on a real registry: written, kept to, outlived by bases that move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aifo_tasks.config import locks
from aifo_tasks.locked import Lock, Locked
from tests.integration.registries import PLATFORMS, Registry
from tests.integration.small import BOTH, NAME, Roots, Small, put


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Registry]:
    """A registry that the test may stop, and whose images it may move."""
    with Registry(tmp_path) as found:
        yield found


@pytest.fixture
def moving(own: Registry, roots: Roots, engine_endpoint: str, tmp_path: Path) -> Iterator[Small]:
    """A small project whose base is in the test's own registry."""
    put(engine_endpoint, f"{own.host}/moving:1", roots, tmp_path / "base.oci.tar")
    project = Small(tmp_path / "p", f"{own.host}/moving")
    yield project
    project.remove()


def locked(project: Small) -> Locked:
    data, problems = locks.checked(project.lock.read_bytes())
    assert data is not None, problems
    (found,) = locks.lock(data).toolchains
    return found


def test_a_base_that_moved_is_named_and_taken_only_when_it_is_locked_again(
    moving: Small, roots: Roots, engine_endpoint: str, tmp_path: Path
) -> None:
    assert (done := moving.doit("lock")).returncode == 0, done.stderr
    first = locked(moving)
    assert (first.kind, first.image, first.version) == ("small", NAME, "1")
    assert dict(first.base.platforms).keys() == set(PLATFORMS)
    assert moving.lock.read_text() == locks.text(Lock(toolchains=(first,)))
    assert "toolchains.lock: says so already" in moving.doit("lock").stderr
    same = moving.doit("outdated")
    assert (same.returncode, "the same" in same.stdout) == (0, True), same.stderr
    built = moving.doit("build_image:small", "LOCKED=1")
    assert f"building over {moving.base}@{first.base.digest}" in built.stderr, built.stderr

    moved = put(engine_endpoint, f"{moving.base}:1", roots[:1], tmp_path / "moved.oci.tar")
    told = moving.doit("outdated")
    assert told.returncode == 1
    line = next(line for line in told.stdout.splitlines() if "base" in line)
    assert line.split() == ["small", "base", f"{moving.base}:1", first.base.digest[:19], moved[:19]]
    assert "up to date" in (again := moving.doit("build_image:small", "LOCKED=1")).stderr, again
    assert "building" not in moving.doit("build_image:small", "PULL=always").stderr

    assert moving.doit("lock").returncode == 0
    assert locked(moving).base.digest == moved
    assert dict(locked(moving).base.platforms).keys() == {PLATFORMS[0]}
    built = moving.doit("build_image:small")
    assert f"building over {moving.base}@{moved}: the base changed" in built.stderr
    lacking = moving.doit("build_image:small", BOTH)
    assert lacking.returncode == 1
    assert f"{moving.base}@{moved}: lacks linux/arm64" in lacking.stderr
    assert not list(moving.path.glob("dist/*"))


def test_what_the_lock_does_not_name_is_refused(small: Small) -> None:
    none = small.doit("build_image:small", "LOCKED=1")
    assert none.returncode == 1
    assert "toolchains.lock: is not there, and LOCKED=1\nhint: aifo lock" in none.stderr
    assert small.doit("lock").returncode == 0
    before = small.lock.read_bytes()
    small.change("image/Dockerfile.j2", "RUN", "ENV A=1\nRUN")
    for task in ("build_image:small", "publish_image:small", "sidecar:small"):
        done = small.doit(task, AIFO_LOCKED="1")
        assert done.returncode == 1, done.stderr
        sentence = "toolchains.lock: names another small: the Dockerfile changed\nhint: aifo lock"
        assert sentence in done.stderr
    told = small.doit("outdated")
    assert (told.returncode, "the Dockerfile changed" in told.stdout) == (1, True)
    assert "keeps toolchains.lock as it is" in small.doit("lock", "LOCKED=1").stderr
    language = small.doit("run_code:sh", "FILE=a.sh", "LOCKED=1")
    assert "toolchains.lock: does not name code-sh, and LOCKED=1" in language.stderr
    taken = small.doit("build_image:small", "LOCKED=1", "TOOLCHAIN_IMAGE=small=other:1")
    assert "toolchains.lock: does not name other:1 for small, and LOCKED=1" in taken.stderr
    assert small.lock.read_bytes() == before


def test_a_wrong_digest_is_named_and_nothing_else_is_taken(small: Small) -> None:
    assert small.doit("lock").returncode == 0
    digest = locked(small).base.digest
    wrong = f"sha256:{'0' * 64}"
    small.change("toolchains.lock", f'digest: "{digest}"', f'digest: "{wrong}"')
    for words in ([], ["LOCKED=1"], ["PUSH=1"]):
        done = small.doit("build_image:small", *words)
        assert done.returncode == 1
        sentence = f"toolchains.lock: names {small.base}:1 as {wrong}, which"
        assert sentence in done.stderr, done.stderr
        assert "hint: aifo lock" in done.stderr
    assert not list(small.path.glob("dist/*"))
    small.change("toolchains.lock", wrong, "sha256:0")
    done = small.doit("build_image:small")
    assert done.returncode == 3
    place = "toolchains.lock:11:15: toolchains.small.base.digest: expected sha256: and 64 hex"
    assert place in done.stderr, done.stderr
    assert small.doit("registry", "REF=node:20").returncode == 0  # needs no lock
    assert small.doit("lock").returncode == 0  # written anew
    assert locked(small).base.digest == digest


def test_a_push_is_written_and_a_registry_that_is_gone_changes_nothing(
    moving: Small, own: Registry
) -> None:
    words = ["publish_image:small", f"REGISTRY={own.host}/team/"]
    assert (done := moving.doit(*words, BOTH)).returncode == 0, done.stderr
    assert "toolchains.lock: written" in done.stderr
    (published,) = locked(moving).published
    assert published.reference == f"{own.host}/team/{NAME}:latest"
    assert f"{published.reference}: pushed, {published.digest}" in done.stderr
    assert dict(published.platforms).keys() == set(PLATFORMS)
    before = moving.lock.read_bytes()
    assert moving.doit("outdated").returncode == 0
    left = moving.doit(*words, "LOCKED=1")
    assert "toolchains.lock: is left as it is: LOCKED=1" in left.stderr, left.stderr

    own.stop()
    for command, problem in (
        (["lock"], f"{moving.base}:1: connect: connection refused"),
        (words, f"{own.host}/team/{NAME}:latest: {own.host} does not answer"),
    ):
        done = moving.doit(*command)
        assert done.returncode == 1
        assert problem in done.stderr, done.stderr
    told = moving.doit("outdated")
    assert told.returncode == 1
    assert told.stdout.count("connection refused") == 2, told.stdout
    text = (moving.path / "toolchains.yaml").read_text()
    bootstrap = ', {bootstrap: {suite: bookworm, variant: minbase}, version: "1"}]'
    moving.change(
        "toolchains.yaml", 'version: "1"}]\n      shims', f'version: "1"}}{bootstrap}\n      shims'
    )
    other = moving.doit("lock")  # no other source takes the place of the one that is locked
    assert (other.returncode, "bookworm" in other.stderr) == (1, False), other.stderr
    (moving.path / "toolchains.yaml").write_text(text)
    assert moving.lock.read_bytes() == before
    own.start()
    assert (again := moving.doit("lock")).returncode == 0, again.stderr
    assert moving.lock.read_bytes() == before
