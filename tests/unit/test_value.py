"""Frozen values behave as the standard frozen dataclass of the same fields does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from aifo_tasks.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A value."""

    name: str
    size: int = 1
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def double(self) -> int:
        return 2 * self.size


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """A value."""

    name: str
    size: int = 1
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


def test_it_shows_and_compares_like_the_standard_one() -> None:
    one, other = Ours(name="a"), Ours(name="a", size=1)
    assert repr(one) == repr(Standard(name="a")).replace("Standard", "Ours")
    assert one == other
    assert one != Ours(name="b")
    assert one != Standard(name="a")  # type: ignore[comparison-overlap]
    assert one.double == 2


def test_equal_values_have_one_hash() -> None:
    pair = {Ours(name="a", labels=None), Ours(name="a", labels=None)}  # type: ignore[arg-type]
    assert len(pair) == 1


def test_it_is_a_dataclass() -> None:
    one = Ours(name="a", labels={"x": "y"})
    assert dataclasses.replace(one, size=3) == Ours(name="a", size=3, labels={"x": "y"})
    assert [field.name for field in dataclasses.fields(one)] == ["name", "size", "labels"]
    assert Ours(name="a").labels is not Ours(name="a").labels
    assert not hasattr(one, "__dict__")


def test_one_that_says_nothing_of_itself_is_not_read_for_its_signature() -> None:
    """Which took longer than all else of a module."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Silent:
        name: str

    assert (Silent.__doc__, Silent(name="a").name) == ("Silent", "a")


def test_it_is_frozen() -> None:
    one = Ours(name="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "b"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.name
    with pytest.raises((AttributeError, TypeError)):
        one.more = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", [{}, {"name": "a", "more": 1}, {"size": 1}])
def test_wrong_arguments_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Ours(**given)  # type: ignore[arg-type]
