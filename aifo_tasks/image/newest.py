"""What a package's own registry has by now of what an image installs."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING

from aifo_tasks import certificates
from aifo_tasks.errors import AifoError
from aifo_tasks.model import Image, Package

if TYPE_CHECKING:
    import requests

SECONDS = 10.0
"""How long a registry may take for one answer."""

_AT_ONCE = 8
_LINK = re.compile(r"<a ([^>]*)>\s*([^<\s]*)\s*</a>")
_WHEEL = re.compile(r"[^-]+-([0-9]+(?:\.[0-9]+)*)-.+\.whl")
"""A wheel of a release, not of what comes before one."""


def versions(image: Image) -> dict[str, str]:
    """The newest release of each package by name, or in words why nobody knows it.

    Only the registries that the image's arguments name are asked, npm's (``NPM_REGISTRY``) and
    PyPI's (``PYPI_INDEX``), and not for what an npm package without a command is there for.
    """
    from concurrent.futures import ThreadPoolExecutor

    asked = {package.name: ask for package in image.packages if (ask := _question(image, package))}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(asked, pool.map(_said, asked.values()), strict=True))


def _question(image: Image, package: Package) -> Callable[[], str] | None:
    arguments, integrity = dict(image.arguments), package.integrity or ""
    if integrity.startswith("sha512-") and package.bin and "NPM_REGISTRY" in arguments:
        return lambda: _of_npm(arguments["NPM_REGISTRY"], package.name)
    if integrity.startswith("sha256:") and "PYPI_INDEX" in arguments:
        return lambda: _of_pypi(arguments["PYPI_INDEX"], package.name)
    return None


def _said(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except AifoError as error:
        return error.problem
    except (KeyError, TypeError, ValueError):
        return "its registry does not say"


def _of_npm(registry: str, name: str) -> str:
    """What npm itself would install when nothing is asked for."""
    url = f"{registry.rstrip('/')}/{urllib.parse.quote(name, safe='@')}/latest"
    return str(_get(url, "application/json").json()["version"])


def _of_pypi(index: str, name: str) -> str:
    """The highest of the wheels that are not yanked, from the page every index has (PEP 503)."""
    page = _get(f"{index.rstrip('/')}/{name}/", "text/html").text
    files = [file for attributes, file in _LINK.findall(page) if "data-yanked" not in attributes]
    found = [wheel[1] for file in files if (wheel := _WHEEL.fullmatch(file))]
    return max(found, key=lambda version: [int(part) for part in version.split(".")])


def _get(url: str, accept: str) -> requests.Response:
    import requests

    bundle = certificates.bundle()
    try:
        answer = requests.get(
            url, headers={"Accept": accept}, timeout=SECONDS,
            verify=str(bundle) if bundle is not None else True,
        )  # fmt: skip
    except requests.exceptions.SSLError:
        raise AifoError(url, "its registry's certificate is not trusted") from None
    except requests.exceptions.RequestException:
        raise AifoError(url, "its registry cannot be reached") from None
    if answer.status_code != 200:
        raise AifoError(url, f"its registry answers {answer.status_code}")
    return answer
