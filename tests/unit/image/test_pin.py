"""What a lock means: which base is taken, and what is refused when nothing else will do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks.engine.api import ImageState
from aifo_tasks.errors import AifoError, LockError
from aifo_tasks.image import base as bases
from aifo_tasks.image import bootstrap, build, oci, pin
from aifo_tasks.image import recipe as recipes
from aifo_tasks.locked import Base, Lock, Locked
from aifo_tasks.model import BaseSource, Bootstrap, Image, Package, Registry, Toolchain
from aifo_tasks.registry import references
from tests.contract.fake import Fake

DEBIAN = Bootstrap(suite="bookworm", variant="minbase")
REGISTRY = BaseSource(version="20", reference="node:{version}")
BOOTSTRAP = BaseSource(version="20.1.0", bootstrap=DEBIAN)
NODE = Base(source="registry", reference="node:20", digest=f"sha256:{'a' * 64}")
DIGEST = f"sha256:{'b' * 64}"
ROOT = Base(
    source="bootstrap", reference="bookworm", digest=DIGEST, platforms=(("linux/amd64", DIGEST),)
)
ARM = f"sha256:{'c' * 64}"
PLATFORMS = ("linux/amd64", "linux/arm64")
NO_PREFIX = references.prefixes(Registry(), {})


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    (tmp_path / "Dockerfile.j2").write_text(
        "FROM x\nRUN y {{ version }}{% for each in image.packages %} {{ each.version }}{% endfor %}"
    )
    package = Package(name="pnpm", version="9.1.0", integrity="sha512-x")
    image = Image(
        name="tried", context=tmp_path, base=(REGISTRY, BOOTSTRAP), packages=(package,),
        arguments=(("A", "1"),),
    )  # fmt: skip
    return Toolchain(kind="node", image=image)


def locked(toolchain: Toolchain, base: Base = NODE, version: str = "20") -> Lock:
    image = toolchain.image
    return Lock().holding(
        Locked(
            kind=toolchain.kind, image=image.name, version=version, base=base,
            declared=recipes.inputs(image), inputs=pin.inputs(image, version),
            tools=pin.tools(image),
        )
    )  # fmt: skip


def change_template(image: Image) -> Image:
    with (image.context / "Dockerfile.j2").open("a") as file:
        file.write("\nUSER 1")
    return image


def change_package(image: Image, **changes: str) -> Image:
    return dataclasses.replace(image, packages=(dataclasses.replace(image.packages[0], **changes),))  # type: ignore[arg-type]


CHANGES: dict[str, Callable[[Image], Image]] = {
    "the Dockerfile changed": change_template,
    "build argument A changed": lambda image: dataclasses.replace(image, arguments=(("A", "2"),)),
    "pnpm changed from 9.1.0 to 9.2.0": lambda image: change_package(image, version="9.2.0"),
    "pnpm changed its checksum, at 9.1.0": lambda image: change_package(image, integrity="y"),
    "pnpm changed from 9.1.0 to none": lambda image: dataclasses.replace(image, packages=()),
    "the declared base sources changed": lambda image: dataclasses.replace(image, base=(REGISTRY,)),
    "the version changed": lambda image: dataclasses.replace(image, version="20"),
}


@pytest.mark.parametrize("problem", CHANGES)
def test_what_is_declared_otherwise_is_named(toolchain: Toolchain, problem: str) -> None:
    lock = locked(toolchain)
    assert pin.pinned(lock, toolchain, strict=True).image.strict
    changed = dataclasses.replace(toolchain, image=CHANGES[problem](toolchain.image))
    with pytest.raises(LockError) as caught:
        pin.pinned(lock, changed, strict=True)
    assert str(caught.value) == (
        f"toolchains.lock: names another node: {problem} (hint: doit lock)"
    )
    assert pin.pinned(lock, changed, strict=False).image.pin == NODE


def test_a_comment_in_a_template_is_no_drift(toolchain: Toolchain) -> None:
    lock = locked(toolchain)
    template = toolchain.image.context / "Dockerfile.j2"
    template.write_text("{# why #}" + template.read_text())
    assert pin.pinned(lock, toolchain, strict=True).image.pin == NODE


def test_no_lock_and_a_lock_without_the_toolchain(toolchain: Toolchain) -> None:
    assert pin.pinned(None, toolchain, strict=False) is toolchain
    assert pin.pinned(Lock(), toolchain, strict=False) is toolchain
    with pytest.raises(LockError, match="is not there, and LOCKED=1"):
        pin.pinned(None, toolchain, strict=True)
    with pytest.raises(LockError, match="does not name node, and LOCKED=1"):
        pin.pinned(Lock(), toolchain, strict=True)


def state(toolchain: Toolchain, base: str, source: str) -> ImageState:
    recipe = recipes.recipe(toolchain.image, version="20", base=base, platform="linux/amd64")
    labels = {**dict(recipe.labels), recipes.BASE: base, recipes.BASE_SOURCE: source}
    labels[recipes.TOOL_VERSION] = "20"
    return ImageState(id="sha256:i", platform="linux/amd64", labels=labels)


@pytest.mark.parametrize(
    ("base", "source", "strict", "reason"),
    [
        (NODE.digest, "registry", False, None),
        (NODE.digest, "registry", True, None),
        ("sha256:other", "registry", False, "the base changed"),
        ("sha256:other", "registry", True, "the base changed"),
        # a registry that cannot be reached gives no base; another source may, unless LOCKED=1
        (ROOT.digest, "bootstrap", False, None),
        (ROOT.digest, "bootstrap", True, "the base changed"),
    ],
)
def test_an_image_on_another_base_than_the_locks_is_stale(
    toolchain: Toolchain, base: str, source: str, strict: bool, reason: str | None
) -> None:
    built = state(toolchain, base, source)
    mine = pin.pinned(locked(toolchain), toolchain, strict=strict)
    assert build.stale(built, mine.image) == reason


def test_the_lock_of_another_version_is_not_asked(toolchain: Toolchain) -> None:
    other = dataclasses.replace(toolchain.image, version="22", pin=NODE)
    assert bases.pinned(other, REGISTRY) is None
    assert bases.wanted(other, "registry") == ""


def engine_with_root(layer: str) -> Fake:
    engine = Fake()
    reference = bootstrap.reference(DEBIAN, "linux/amd64")
    engine.images[reference] = ImageState(id="sha256:i", platform="linux/amd64", layers=(layer,))
    return engine


def test_a_root_file_system_is_known_by_its_content(toolchain: Toolchain) -> None:
    mine = pin.pinned(locked(toolchain, ROOT, "20.1.0"), toolchain, strict=True)
    found = bases.ensure(engine_with_root(ROOT.digest), mine.image, prefixes=NO_PREFIX)
    assert (found.source, found.digest, found.name) == ("bootstrap", ROOT.digest, "bookworm")
    with pytest.raises(LockError) as caught:
        bases.ensure(engine_with_root("sha256:other"), mine.image, prefixes=NO_PREFIX)
    assert str(caught.value) == (
        f"{bootstrap.reference(DEBIAN, 'linux/amd64')}: for linux/amd64 is sha256:other, "
        f"and toolchains.lock names {ROOT.digest} (hint: doit lock)"
    )


@pytest.mark.parametrize(
    ("arm", "problem"),
    [
        (ARM, ""),
        ("sha256:other", f"for linux/arm64 is sha256:other, and toolchains.lock names {ARM}"),
        ("", f"for linux/arm64 is of unknown content, and toolchains.lock names {ARM}"),
    ],
)
def test_root_file_systems_of_several_platforms_are_known_by_theirs(
    toolchain: Toolchain, arm: str, problem: str
) -> None:
    roots = (("linux/amd64", ROOT.digest), ("linux/arm64", ARM))
    lock = locked(toolchain, dataclasses.replace(ROOT, platforms=roots), "20.1.0")
    mine = pin.pinned(lock, toolchain, strict=True).image
    has = f"linux/amd64={ROOT.digest}" + (f",linux/arm64={arm}" if arm else "")
    engine = Fake()
    engine.images[bootstrap.reference(DEBIAN, *PLATFORMS)] = ImageState(
        id="sha256:index", platform="linux/amd64", layers=(ROOT.digest,), labels={oci.ROOTS: has}
    )
    if not problem:
        found = bases.ensure(engine, mine, prefixes=NO_PREFIX, platforms=PLATFORMS)
        assert (found.digest, found.roots) == ("sha256:index", roots)
        return
    with pytest.raises(LockError) as caught:
        bases.ensure(engine, mine, prefixes=NO_PREFIX, platforms=PLATFORMS)
    assert caught.value.problem == problem
    assert caught.value.hint == "doit lock PLATFORMS=linux/amd64,linux/arm64"


def test_a_platform_that_the_lock_does_not_name_is_refused(toolchain: Toolchain) -> None:
    mine = pin.pinned(locked(toolchain, ROOT, "20.1.0"), toolchain, strict=True).image
    with pytest.raises(LockError) as caught:  # and before anything is made
        bases.ensure(Fake(), mine, prefixes=NO_PREFIX, platforms=("linux/arm64",))
    assert str(caught.value) == (
        "toolchains.lock: names no bookworm from the archive for linux/arm64 "
        "(hint: doit lock PLATFORMS=linux/arm64)"
    )


def test_no_other_source_is_tried_when_nothing_else_will_do(toolchain: Toolchain) -> None:
    engine = engine_with_root(ROOT.digest)
    mine = pin.pinned(locked(toolchain), toolchain, strict=False)
    assert bases.ensure(engine, mine.image, prefixes=NO_PREFIX).source == "bootstrap"
    mine = pin.pinned(locked(toolchain), toolchain, strict=True)
    with pytest.raises(AifoError) as caught:
        bases.ensure(engine, mine.image, prefixes=NO_PREFIX)
    assert caught.value.problem == (
        "no source gives a base image\n  node:20: the fake reaches no registry"
    )


def test_the_base_of_the_lock_is_asked_for_by_its_digest(toolchain: Toolchain) -> None:
    engine = Fake()
    reference = f"node@{NODE.digest}"
    engine.images[reference] = ImageState(id="sha256:i", platform="linux/amd64")
    mine = pin.pinned(locked(toolchain), toolchain, strict=True)
    found = bases.ensure(engine, mine.image, prefixes=NO_PREFIX, pull="never")
    assert (found.reference, found.digest, found.name) == (reference, NODE.digest, "node:20")
