"""Words that ask for a toolchain."""

from __future__ import annotations

import pytest

from aifo_tasks.errors import UsageError
from aifo_tasks.spec import Spec, parse


@pytest.mark.parametrize(
    ("word", "spec"),
    [
        ("rust", Spec(kind="rust")),
        ("c++", Spec(kind="c++")),
        ("node@22.12.0", Spec(kind="node", version="22.12.0")),
        ("rust=mine:1", Spec(kind="rust", image="mine:1")),
        ("go@1.23=a.example/go:1", Spec(kind="go", version="1.23", image="a.example/go:1")),
        ("go=a@sha256:0f=1", Spec(kind="go", image="a@sha256:0f=1")),
        ("go@1@2", Spec(kind="go", version="1@2")),
    ],
)
def test_it_is_split_at_the_first_equals_sign_then_at_the_first_at(word: str, spec: Spec) -> None:
    assert parse(word) == spec


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("", "kind"), ("@1", "kind"), ("=mine", "kind"), (" @1", "kind"), ("rust@", "version"),
        ("rust@=mine", "version"), ("rust@ ", "version"), ("rust=", "image"), ("go@1=", "image"),
    ],
)  # fmt: skip
def test_an_empty_part_is_an_error(word: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(word)
    assert str(caught.value) == (
        f"{word!r}: the {part} is empty (hint: KIND, KIND@VERSION or KIND=IMAGE)"
    )
