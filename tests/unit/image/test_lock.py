"""A lock made from what an engine has, and compared with it later."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aifo_tasks.engine.api import ImageState
from aifo_tasks.engine.publishing import Publisher
from aifo_tasks.errors import AifoError, UsageError
from aifo_tasks.image import bootstrap, lock, merge, oci, recipe
from aifo_tasks.image.pin import Row
from aifo_tasks.image.target import Wish
from aifo_tasks.locked import Base
from aifo_tasks.model import BaseSource, Bootstrap, Image, Package, Registry, Toolchain
from aifo_tasks.registry import references
from tests.contract.fake import Fake

DEBIAN = Bootstrap(suite="bookworm", variant="minbase")
REFERENCE = bootstrap.reference(DEBIAN, "linux/amd64")
ROOT, OTHER = (f"sha256:{digit * 64}" for digit in "ab")
NOBODY = Publisher(("docker", "--host", "unix:///nowhere"))


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    (tmp_path / "Dockerfile.j2").write_text("FROM x\nRUN y {{ version }}\n")
    packages = (
        Package(name="uv", version="0.1", integrity="sha256:x", architecture="amd64"),
        Package(name="npm", version="1.2"),
    )
    image = Image(
        name="tried", context=tmp_path, packages=packages,
        base=(BaseSource(version="3.11", bootstrap=DEBIAN),),
    )  # fmt: skip
    return Toolchain(kind="python", image=image)


@pytest.fixture
def place() -> lock.Place:
    engine = Fake()
    engine.images[REFERENCE] = ImageState(id="sha256:i", platform="linux/amd64", layers=(ROOT,))
    prefixes = references.prefixes(Registry(), {})
    return lock.Place(engine=engine, publisher=NOBODY, prefixes=prefixes)


def test_what_is_locked_of_a_bootstrap(toolchain: Toolchain, place: lock.Place) -> None:
    found = lock.resolve(place, toolchain, None)
    assert (found.kind, found.image, found.version) == ("python", "tried", "3.11")
    assert found.base == Base(
        source="bootstrap", reference="bookworm", digest=ROOT, platforms=(("linux/amd64", ROOT),)
    )
    assert found.declared == recipe.inputs(toolchain.image)
    assert "dockerfile" in dict(found.inputs)
    assert not {"base", "platform"} & dict(found.inputs).keys()
    assert [(tool.key, tool.version, tool.integrity) for tool in found.tools] == [
        ("uv (amd64)", "0.1", "sha256:x"), ("npm", "1.2", "")
    ]  # fmt: skip
    assert lock.resolve(place, toolchain, found) == found


def test_what_is_locked_of_a_bootstrap_for_several_platforms(
    toolchain: Toolchain, place: lock.Place
) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    assert isinstance(place.engine, Fake)
    place.engine.images[bootstrap.reference(DEBIAN, *platforms)] = ImageState(
        id="sha256:index", platform="linux/amd64", layers=(ROOT,),
        labels={oci.ROOTS: f"linux/amd64={ROOT},linux/arm64={OTHER}"},
    )  # fmt: skip
    found = lock.resolve(dataclasses.replace(place, platforms=platforms), toolchain, None)
    assert found.base == Base(
        source="bootstrap", reference="bookworm", digest=ROOT,
        platforms=(("linux/amd64", ROOT), ("linux/arm64", OTHER)),
    )  # fmt: skip


def test_what_the_engine_made_of_the_archive_since_is_shown(
    toolchain: Toolchain, place: lock.Place
) -> None:
    found = lock.resolve(place, toolchain, None)
    row = Row(kind="python", what="base bookworm", locked=ROOT, now=ROOT, same=True)
    assert list(lock.outdated(place, toolchain, found)) == [row]
    assert isinstance(place.engine, Fake)
    place.engine.images[REFERENCE] = ImageState(
        id="sha256:j", platform="linux/amd64", layers=(OTHER,)
    )
    assert list(lock.outdated(place, toolchain, found)) == [
        dataclasses.replace(row, now=OTHER, same=False)
    ]


def test_another_release_than_the_pinned_one_is_told_and_no_drift(
    toolchain: Toolchain, place: lock.Place
) -> None:
    arguments = (("PYPI_INDEX", "http://127.0.0.1:9/simple"),)
    image = dataclasses.replace(toolchain.image, arguments=arguments)
    asking = dataclasses.replace(toolchain, image=image)
    _, row = lock.outdated(place, asking, lock.resolve(place, asking, None))
    assert row == Row(
        kind="python", what="uv", locked="0.1", now="its registry cannot be reached", told=True
    )


def test_what_is_not_locked_or_not_declared_any_more_is_shown(
    toolchain: Toolchain, place: lock.Place
) -> None:
    found = lock.resolve(place, toolchain, None)
    (row,) = lock.outdated(place, toolchain, None)
    assert (row.now, row.same) == ("is not locked", False)
    trixie = BaseSource(version="3.13", bootstrap=dataclasses.replace(DEBIAN, suite="trixie"))
    image = dataclasses.replace(toolchain.image, base=(trixie,), packages=())
    rows = list(lock.outdated(place, dataclasses.replace(toolchain, image=image), found))
    assert [row.what for row in rows] == [
        "npm changed from 1.2 to none",
        "uv (amd64) changed from 0.1 to none",
        "the declared base sources changed",
        "base bookworm",
    ]
    assert not any(row.same for row in rows)
    assert rows[-1].now == "is not declared"


def test_an_image_of_somebody_elses_is_not_locked(toolchain: Toolchain, place: lock.Place) -> None:
    taken = dataclasses.replace(toolchain.image, taken="other:1")
    with pytest.raises(AifoError, match="is taken as it is and cannot be locked"):
        lock.resolve(place, dataclasses.replace(toolchain, image=taken), None)


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        (Wish(push=True, registry="r.example/"), "PLATFORMS: which platforms are to be merged?"),
        (
            Wish(push=True, registry="r.example/", platforms=("linux/amd64",)),
            "PLATFORMS: which platforms are to be merged?",
        ),
        (
            Wish(push=True, platforms=("linux/amd64", "linux/arm64")),
            "REGISTRY: which registry has them?",
        ),
        (
            Wish(push=True, registry="team/", platforms=("linux/amd64", "linux/arm64")),
            "REGISTRY: 'team/' names no host and would mean Docker Hub",
        ),
    ],
)
def test_a_merge_says_what_and_where(toolchain: Toolchain, wish: Wish, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        merge.merge(NOBODY, toolchain.image, wish)
    assert caught.value.sentence == problem


def test_each_machines_tag_says_what_it_is() -> None:
    assert merge.part("r.example/a:1", "linux/amd64") == "r.example/a:1-amd64"
    assert merge.part("r.example/a:1", "linux/arm/v7") == "r.example/a:1-arm-v7"
