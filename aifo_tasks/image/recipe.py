"""Everything an image's content depends on, rendered, digested and told apart in words."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from aifo_tasks import files
from aifo_tasks.errors import AifoError
from aifo_tasks.model import SHIMS, Image
from aifo_tasks.value import dataclass

VERSION = "1"
"""Raised when this package builds otherwise from the same inputs."""

TEMPLATE = "Dockerfile.j2"
PARTS = "parts.j2"
"""What templates import from the directory that all images share."""

RECIPE = "io.aifo.recipe"
INPUTS = "io.aifo.inputs"
DECLARED = "io.aifo.declared"
BASE = "io.aifo.base"
BASE_REFERENCE = "io.aifo.base.reference"
BASE_SOURCE = "io.aifo.base.source"
TOOL_VERSION = "io.aifo.tool-version"
PACKAGE_VERSION = "io.aifo.version"

SHIM_CONTEXT = "aifo-shim"
"""The build context besides the recipe's own that holds the shim for each architecture."""

SHARED_CONTEXT = "aifo-shared"
"""The build context that holds what the templates of all images have in common."""

_SHIMS = """
# Tools that this image has not itself are called through the proxy; so are those it has.
ARG TARGETARCH
COPY --from={context} --chmod=755 $TARGETARCH/aifo-shim {directory}/aifo-shim
RUN for tool in {tools}; do ln -sf aifo-shim "{directory}/$tool"; done
ENV PATH={directory}:$PATH
"""
_WORDS = {
    "argument": "build argument {}",
    "base sources": "the declared base sources",
    "dockerfile": "the Dockerfile",
    "file": "{}",
    "shared": "{}, which all images share,",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A rendered Dockerfile, the name and digest or value of every input, sorted, and the
    digest of what is declared (see ``inputs``)."""

    dockerfile: str
    inputs: tuple[tuple[str, str], ...]
    declared: str

    @property
    def digest(self) -> str:
        """What the label ``io.aifo.recipe`` holds: 64 hexadecimal digits."""
        return files.digest(*(part for pair in self.inputs for part in pair))

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """What a later run compares."""
        return (
            (RECIPE, self.digest),
            (INPUTS, json.dumps(dict(self.inputs))),
            (DECLARED, self.declared),
        )


def recipe(image: Image, *, version: str, base: str, platform: str) -> Recipe:
    """The recipe of an image of ``version`` over the base with the digest ``base``.

    Raises AifoError when the context or its template cannot be used.
    """
    dockerfile = render(image, version)
    found = {
        "recipe": VERSION,
        "dockerfile": files.digest(dockerfile),
        "base": base,
        "base sources": files.digest(repr(image.base)),
        "version": image.version or "",
        "platform": platform,
    }
    if image.shims:
        found["shim"] = _shim_digest()
    found |= {f"argument {name}": files.digest(value) for name, value in image.arguments}
    found |= _file_digests("file", image.context, but=TEMPLATE)
    if image.shared:
        found |= _file_digests("shared", image.shared, but=PARTS)
    return Recipe(
        dockerfile=dockerfile, inputs=tuple(sorted(found.items())), declared=inputs(image)
    )


def render(image: Image, version: str) -> str:
    """The Dockerfile for ``version`` of the tool; every value comes from the model.

    A template has ``image`` and ``version``, ``| sh`` quotes a word for a shell, and it may
    import those that the images share. What lays out the shims, if there are to be any,
    follows it.

    Raises AifoError when there is no template, or it has a mistake.
    """
    import jinja2

    template = image.context / TEMPLATE
    try:
        source = template.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or "it fails").lower()
        raise AifoError(str(template), f"cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise AifoError(str(template), "is not UTF-8") from None
    # A Dockerfile is no HTML: escaping would turn & and quotes into entities.
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  # see above
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=jinja2.FileSystemLoader(image.shared or ()),
    )
    environment.filters["sh"] = shlex.quote
    try:
        text = environment.from_string(source).render(image=image, version=version)
    except jinja2.TemplateSyntaxError as error:
        where = f"{error.filename or template}:{error.lineno}"
        raise AifoError(where, error.message or "is no template") from None
    except jinja2.TemplateError as error:
        raise AifoError(str(template), error.message or "cannot be rendered") from None
    if not image.shims:
        return text
    return text + _SHIMS.format(
        context=SHIM_CONTEXT, directory=SHIMS, tools=" ".join(map(shlex.quote, image.shims))
    )


def inputs(image: Image) -> str:
    """A digest of what is declared and of the raw context, cheap and without rendering.

    As long as it stays the same, what the files ask for is the same image. What toolchains.lock
    says does not count: it is made from this.
    """
    declared = dataclasses.replace(
        image, context=Path(), shared=None, pin=None, published=(), strict=False
    )
    shared = (files.digest_tree(image.shared),) if image.shared else ()
    shim = (_shim_digest(),) if image.shims else ()
    return files.digest(VERSION, repr(declared), files.digest_tree(image.context), *shared, *shim)


def tag(image: Image) -> str:
    """The tag of a published image that was made from what is declared, on any base."""
    return f"recipe-{inputs(image)[:32]}"


def explain(labels: Mapping[str, str], new: Recipe) -> str:
    """Which input of a built image is another now, in words; "" when none is."""
    if labels.get(RECIPE) == new.digest:
        return ""
    old = recorded(labels)
    if not old:
        return "the image does not say what it was made of"
    found = differences(old, dict(new.inputs))
    return "; ".join(found) or "the image's own record of what it was made of is damaged"


def differences(old: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Which of the inputs is another now, each in words."""
    names = sorted(name for name in old.keys() | now.keys() if old.get(name) != now.get(name))
    # Another base or version is rendered into another Dockerfile: name the cause alone.
    if "dockerfile" in names and "version" in names:
        names.remove("dockerfile")
    return [_phrase(name, old.get(name), now.get(name)) for name in names]


def recorded(labels: Mapping[str, str]) -> Mapping[str, str]:
    """The inputs an image was built from, by its own labels; empty when it does not tell."""
    try:
        found = json.loads(labels[INPUTS])
    except (KeyError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _phrase(name: str, old: str | None, new: str | None) -> str:
    change = "was added" if old is None else "was removed" if new is None else "changed"
    if name == "recipe":
        return "this package builds it otherwise now"
    if name in {"version", "platform"} and old and new:
        return f"the {name} changed from {old} to {new}"
    kind, _, rest = name.partition(" ")
    words = _WORDS.get(name) or _WORDS.get(kind) or f"the {name}"
    return f"{words.format(rest)} {change}"


def _shim_digest() -> str:
    """Of the shim as it travels with the package; what is compiled from it depends on it."""
    return files.digest_tree(files.resource("shim"))


def _file_digests(kind: str, top: Path, *, but: str) -> dict[str, str]:
    """Of every file below ``top`` but the template, which the rendered Dockerfile stands for."""
    return {
        f"{kind} {path.relative_to(top).as_posix()}": _file_digest(path)
        for path in top.rglob("*")
        if path.is_file() and path != top / but
    }


def _file_digest(path: Path) -> str:
    executable = "x" if os.access(path, os.X_OK) else "-"
    return files.digest(executable, path.read_bytes())
