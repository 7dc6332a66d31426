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
            # Where there is none the standard decorator tokenizes a signature: 3 ms a class.
            cls.__doc__ = cls.__doc__ or cls.__name__
            make = dataclasses.dataclass(
                init=False, repr=False, eq=False, match_args=False, slots=True, kw_only=True
            )
            made = make(cls)
            made.__init__ = _init_of(made)
            return made

        return decorated

    def _init_of(cls: type) -> object:
        fields = dataclasses.fields(cls)
        places = tuple((field.name, vars(cls)[field.name].__set__) for field in fields)
        defaults = {field.name: field.default for field in fields if field.default is not _MISSING}
        factories = {
            field.name: field.default_factory
            for field in fields
            if field.default_factory is not _MISSING
        }

        def init(self: object, **given: object) -> None:
            values = given if len(given) == len(places) else {**defaults, **given}
            for name, make in factories.items():
                if name not in values:
                    values[name] = make()
            try:
                for name, put in places:
                    put(self, values[name])
            except KeyError:
                raise TypeError(f"{cls.__qualname__}() needs {name}") from None
            if len(values) > len(places):
                more = ", ".join(values.keys() - dict(places).keys())
                raise TypeError(f"{cls.__qualname__}() takes no {more}")

        return init

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

    _MISSING = dataclasses.MISSING
    _SHARED = {
        "__repr__": _repr,
        "__eq__": _eq,
        "__hash__": _hash,
        "__setattr__": _refuse,
        "__delattr__": _refuse,
    }
