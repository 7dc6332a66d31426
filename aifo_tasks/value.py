"""Frozen values: dataclasses that share their methods instead of generating them.

The standard decorator compiles six methods for each class. On the way to a warm call that
was a sixth of the time: three dozen classes, most of them made once or never. Type checkers
see the standard decorator, and ``dataclasses.fields`` and ``replace`` work as usual.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool) -> object:
        """The standard decorator, for classes that are frozen, slotted and keyword-only."""
        assert frozen and slots and kw_only  # noqa: PT018  # nothing else is shared

        def decorated(cls: type) -> type:
            for name, method in _SHARED.items():
                if name not in vars(cls):
                    setattr(cls, name, method)
            make = dataclasses.dataclass(
                init=False, repr=False, eq=False, match_args=False, slots=True, kw_only=True
            )
            return make(cls)

        return decorated

    def _init(self: object, **given: object) -> None:
        for name, field in self.__dataclass_fields__.items():
            if name in given:
                value = given.pop(name)
            elif field.default is not dataclasses.MISSING:
                value = field.default
            elif field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            else:
                raise TypeError(f"{type(self).__qualname__}() needs {name}")
            object.__setattr__(self, name, value)
        if given:
            raise TypeError(f"{type(self).__qualname__}() takes no {', '.join(given)}")

    def _content(value: object) -> tuple[object, ...]:
        return tuple(getattr(value, name) for name in value.__dataclass_fields__)

    def _repr(self: object) -> str:
        pairs = zip(self.__dataclass_fields__, _content(self), strict=True)
        text = ", ".join(f"{name}={value!r}" for name, value in pairs)
        return f"{type(self).__qualname__}({text})"

    def _eq(self: object, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _content(self) == _content(other)

    def _hash(self: object) -> int:
        return hash(_content(self))

    def _refuse(self: object, name: str, *_: object) -> None:
        raise dataclasses.FrozenInstanceError(f"{name} of {type(self).__qualname__} is fixed")

    _SHARED = {
        "__init__": _init,
        "__repr__": _repr,
        "__eq__": _eq,
        "__hash__": _hash,
        "__setattr__": _refuse,
        "__delattr__": _refuse,
    }
