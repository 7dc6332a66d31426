"""The words of a call to a package manager."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


def subcommand(
    argv: Sequence[str], programs: Collection[str], valued: Collection[str] = ()
) -> str | None:
    """The first word that is no option: "" when there is none, None for another program.

    ``valued`` are the options whose value is a word of its own.
    """
    return next(plain(argv, programs, valued), "") if _is_one_of(argv, programs) else None


def plain(
    argv: Sequence[str], programs: Collection[str], valued: Collection[str] = ()
) -> Iterator[str]:
    """The words of a call that are neither options nor their values; none for another program."""
    words = iter(argv[1:] if _is_one_of(argv, programs) else ())
    for word in words:
        if word in valued:
            next(words, None)
        elif not word.startswith(("-", "+")):  # cargo +nightly names no command
            yield word


def _is_one_of(argv: Sequence[str], programs: Collection[str]) -> bool:
    return bool(argv) and argv[0].rsplit("/", 1)[-1] in programs
