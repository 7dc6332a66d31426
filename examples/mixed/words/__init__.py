"""The words that a text is made of."""

from __future__ import annotations

from stop_words import get_stop_words

from words.native import counted


def frequent(text: str, language: str = "english") -> list[tuple[str, int]]:
    """The words with how often they stand there, the most frequent first, then by the alphabet;
    without those that stand in every text of the language."""
    found = counted(text)
    for word in get_stop_words(language):
        found.pop(word, None)
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))
