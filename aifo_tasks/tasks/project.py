"""The project that the tasks are about: its configuration, loaded once, and its words."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aifo_tasks import files, locked, spec
from aifo_tasks.config import load
from aifo_tasks.errors import ConfigError, UnapprovedError, UsageError
from aifo_tasks.model import Config, Language, Toolchain
from aifo_tasks.spec import Choice, Source, Spec, Wish
from aifo_tasks.tasks import variables

if TYPE_CHECKING:  # only the tasks that run pay for the domain
    from aifo_tasks.registry.references import Chosen, Prefixes
    from aifo_tasks.session.workplace import Choices, Workplace


@functools.cache
def config() -> Config:
    """The configuration of the project in the current directory; raises ConfigError."""
    return load.load(load.find_root(Path.cwd()))


def named() -> Config:
    """What creators take their tasks' names from.

    While a file is not approved that is what is shipped, so that ``trust`` and ``list`` work;
    whatever runs asks for ``config`` and is refused.
    """
    try:
        return config()
    except UnapprovedError:
        return load.load(files.resource("toolchains.yaml").parent)


_asking: list[str] = []


@contextlib.contextmanager
def asking(word: str) -> Iterator[None]:
    """While it lasts creators make tasks for this one word, if it means a toolchain (or, where
    those are named, a language)."""
    _asking.append(word)
    try:
        yield
    finally:
        _asking.pop()


def words() -> Iterator[tuple[str, Toolchain]]:
    """What creators make a task for each of: every toolchain by its short name, or the word
    that is asked for (``c-cpp``, ``ts``, ``rust@1.85``)."""
    if not _asking:
        for toolchain in named().toolchains:
            yield toolchain.short, toolchain
        return
    asked = spec.parse(_asking[-1])
    found = named().toolchain(asked.kind)
    if found is not None:
        version = asked.version or found.image.version
        yield _asking[-1], replace(found, image=replace(found.image, version=version))
    elif asked.version:
        raise _unknown(_asking[-1], asked)


def codes() -> Iterator[tuple[str, Language]]:
    """The same of languages: every one by its code, or the word that is asked for (``python``,
    ``PY``)."""
    if not _asking:
        for language in named().languages:
            yield language.code, language
        return
    found = named().language(_asking[-1])
    if found is None:
        known = ", ".join(each.code for each in named().languages)
        raise UsageError(_asking[-1], "there is no such language", hint=f"known: {known}")
    yield _asking[-1], found


def toolchain(word: str) -> Toolchain:
    """The toolchain that a word means, with the image that is decided on."""
    return choice(word).toolchain


def choice(
    word: str, *, images: Sequence[str] | None = None, specs: Sequence[str] | None = None
) -> Choice:
    """The toolchain that a word means, with the image that the word, the command line, the
    environment or the file decides on, on the base that toolchains.lock names; ``images`` and
    ``specs`` are a task's options.

    With LOCKED=1 raises LockError for what the lock does not name.
    """
    chosen = declared(word, images=images, specs=specs)
    return replace(chosen, toolchain=_pinned(chosen.toolchain))


def language(code: str) -> Language:
    """The language of a declared code, its image on the base that toolchains.lock names."""
    found = config().language(code)
    assert found is not None, code
    same = (each for each in config().toolchains if each.image == found.image)
    kind = next((each.kind for each in same), f"code-{found.code}")
    return replace(found, image=_pinned(Toolchain(kind=kind, image=found.image)).image)


def _pinned(toolchain: Toolchain) -> Toolchain:
    """On the base that toolchains.lock names; LockError with LOCKED=1 where it names another."""
    if config().lock_problems:
        raise ConfigError(config().lock_problems, file=locked.NAME)
    strict = variables.flag("LOCKED")
    if config().lock is None and not strict:
        return toolchain
    from aifo_tasks.image import pin

    return pin.pinned(config().lock, toolchain, strict=strict)


def declared(
    word: str, *, images: Sequence[str] | None = None, specs: Sequence[str] | None = None
) -> Choice:
    """The same whatever toolchains.lock says."""
    asked = spec.parse(word)
    found = config().toolchain(asked.kind)
    if found is None:
        raise _unknown(word, asked)
    wishes = [spec.Wish(spec=asked, source=Source.COMMAND_LINE, where=word)]
    wishes += _wishes("TOOLCHAIN_IMAGE", images)
    wishes += _wishes("TOOLCHAIN_SPEC", specs)
    wishes += spec.from_environment(found, os.environ)
    chosen = spec.choose(found, wishes)
    return replace(chosen, toolchain=_resolved(chosen.toolchain))


def _resolved(toolchain: Toolchain) -> Toolchain:
    """With the whole reference of an image that is taken as it is and names no registry."""
    from aifo_tasks.registry import references

    taken = toolchain.image.taken
    if not taken or references.names_host(taken):
        return toolchain
    taken = references.resolve(taken, prefixes()).reference
    return replace(toolchain, image=replace(toolchain.image, taken=taken))


def _wishes(name: str, given: Sequence[str] | None) -> Iterator[Wish]:
    """What a variable asks for, or the option of its name; every kind in it must be known."""
    resolved = variables.resolve(name)
    source = resolved.source if given is None else Source.COMMAND_LINE
    assert isinstance(resolved.value, list), name
    for word in resolved.value if given is None else given:
        asked = spec.parse(word)
        if config().toolchain(asked.kind) is None:
            raise _unknown(word, asked)
        if not (asked.image if name == "TOOLCHAIN_IMAGE" else asked.version):
            form = "KIND=IMAGE" if name == "TOOLCHAIN_IMAGE" else "KIND@VERSION"
            raise UsageError(name, f"expected {form}, found '{word}'")
        yield spec.Wish(spec=asked, source=source, where=name)


def _unknown(word: str, asked: Spec) -> UsageError:
    kinds = ", ".join(each.kind for each in named().toolchains)
    return UsageError(word, f"there is no toolchain '{asked.kind}'", hint=f"known: {kinds}")


def workplace(
    word: str,
    *,
    caches: bool = True,
    images: Sequence[str] | None = None,
    specs: Sequence[str] | None = None,
) -> Workplace:
    """The toolchain that a word means in this project; for the rest see ``choice``."""
    from aifo_tasks.session import workplace as workplaces

    chosen = choice(word, images=images, specs=specs).toolchain
    return workplaces.workplace(config(), chosen, caches=caches)


def prefixes(*, refresh: bool = False) -> Prefixes:
    """Which registries references are looked for in; may ask hosts that the file names."""
    from aifo_tasks.registry import references

    return references.prefixes(config().registry, os.environ, chosen(refresh=refresh))


def chosen(*, refresh: bool = False) -> Chosen:
    """What the command line says of registries."""
    from aifo_tasks.registry.references import Chosen

    given = variables.given()
    internal, mirror = (
        variables.text(name) if name in given else None
        for name in ("INTERNAL_PREFIX", "MIRROR_PREFIX")
    )
    refresh = refresh or variables.flag("REFRESH_REGISTRY")
    return Chosen(internal=internal, mirror=mirror, refresh=refresh)


def choices(*, pull: str, yes: bool, bootstrap: Sequence[str] = ()) -> Choices:
    """What a task's options say, as the domain takes it."""
    from aifo_tasks.session.workplace import Choices

    assert pull in {"auto", "never", "always"}, pull
    return Choices(
        pull=pull,  # type: ignore[arg-type]
        consent=yes,
        bootstrap=tuple(bootstrap),
        registry=chosen(),
    )


COMMON = ("YES", "DRY_RUN", "VERBOSE")
"""Variables that every task that changes something takes."""


def params(*names: str) -> list[dict[str, object]]:
    """The options of a task: these variables and the common ones."""
    return variables.params(*names, *COMMON)
