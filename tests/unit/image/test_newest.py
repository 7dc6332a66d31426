"""The newest release of a package, from registries on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aifo_tasks.image import newest
from aifo_tasks.model import Image, Package


@pytest.fixture
def served() -> dict[str, bytes]:
    wheels = [
        ("uv-0.9.9-py3-none-any.whl", ""),
        ("uv-0.10.0-py3-none-any.whl", ' data-requires-python="&gt;=3.8"'),
        ("uv-0.11.0-py3-none-any.whl", ' data-yanked="it was broken"'),
        ("uv-0.12.0rc1-py3-none-any.whl", ""),
        ("uv-0.13.0.tar.gz", ""),
    ]
    links = [f'<a href="../{name}#sha256=0"{more}>{name}</a><br/>' for name, more in wheels]
    return {
        "/npm/pnpm/latest": json.dumps({"version": "11.1.0"}).encode(),
        "/npm/@deno%2Flinux/latest": json.dumps({"version": "2.9.6"}).encode(),
        "/npm/odd/latest": b"[]",
        "/npm/page/latest": b"<html>",
        "/simple/uv/": "\n".join(links).encode(),
        "/simple/none/": b"<html></html>",
    }


def packages(*names: str, integrity: str = "sha512-x") -> tuple[Package, ...]:
    return tuple(
        Package(name=name, version="1", integrity=integrity, bin=(("a", "b"),)) for name in names
    )


def image(server: str, *found: Package) -> Image:
    arguments = (("NPM_REGISTRY", f"{server}/npm/"), ("PYPI_INDEX", f"{server}/simple"))
    return Image(name="i", context=Path("/"), base=(), packages=found, arguments=arguments)


def test_each_registry_is_asked_for_its_own(server: str) -> None:
    uv = Package(name="uv", version="0.9.9", integrity="sha256:x")
    needed = Package(name="acorn", version="8", integrity="sha512-x")
    go = Package(name="golang.org/toolchain", version="1.22.12", integrity="h1:x")
    found = image(server, *packages("pnpm", "@deno/linux"), uv, uv, needed, go)
    assert newest.versions(found) == {"pnpm": "11.1.0", "@deno/linux": "2.9.6", "uv": "0.10.0"}


def test_what_does_not_say_is_said(server: str) -> None:
    assert newest.versions(image(server, *packages("odd", "page", "none"))) == {
        "odd": "its registry does not say",
        "page": "its registry does not say",
        "none": "its registry answers 404",
    }
    nothing = image(server, *packages("none", integrity="sha256:x"))
    assert newest.versions(nothing) == {"none": "its registry does not say"}
    nobody = image("http://127.0.0.1:9", *packages("uv", integrity="sha256:x"))
    assert newest.versions(nobody) == {"uv": "its registry cannot be reached"}


def test_no_registry_is_asked_that_the_file_does_not_name() -> None:
    silent = Image(name="i", context=Path("/"), base=(), packages=packages("pnpm"))
    assert newest.versions(silent) == {}
