"""Frozen dataclasses for a package that is imported quickly."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeVar, dataclass_transform

    _T = TypeVar("_T")
else:

    def dataclass_transform(**_: object) -> object:
        """Do without `typing` at run time."""
        return lambda function: function


class _FromTwin:
    """An attribute that the class's twin, a dataclass, has: made when it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        from dataclasses import dataclass

        twin: type = dataclass(frozen=True)(type(owner.__name__, (), owner.__dict__["_declared"]))
        owner.__dataclass_fields__ = twin.__dataclass_fields__  # type: ignore[attr-defined]
        owner.__dataclass_params__ = twin.__dataclass_params__  # type: ignore[attr-defined]
        return getattr(owner, self._name)


@dataclass_transform(frozen_default=True)
def frozen(cls: type[_T]) -> type[_T]:
    """Make a class what `dataclass(frozen=True)` makes of it.

    The module `dataclasses` is imported only where the fields are asked for, as `dataclasses.asdict` and its like do:
    importing it takes longer than opening a store and writing to it.
    """
    names = tuple(cls.__annotations__)
    defaults = {name: value for name, value in vars(cls).items() if name in names}
    parameters = ", ".join(f"{name}=defaults[{name!r}]" if name in defaults else name for name in names)
    values = ", ".join(f"{name}={name}" for name in names)
    init: dict[str, Any] = {"defaults": defaults}
    exec(f"def __init__(self, {parameters}): self.__dict__.update({values})", init)

    def delete(self: object, name: str) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot change field {name!r}")

    def assign(self: object, name: str, value: object) -> NoReturn:
        delete(self, name)

    def as_tuple(self: object) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in names)

    def equals(self: object, other: object) -> bool:
        return as_tuple(self) == as_tuple(other) if type(other) is type(self) else NotImplemented

    def show(self: object) -> str:
        return f"{cls.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    attributes: dict[str, Any] = {
        "_declared": {"__annotations__": cls.__annotations__, "__module__": cls.__module__, **defaults},
        "__match_args__": names,
        "__init__": init["__init__"],
        "__setattr__": assign,
        "__delattr__": delete,
        "__eq__": equals,
        "__hash__": lambda self: hash(as_tuple(self)),
        "__repr__": show,
        **{name: _FromTwin(name) for name in ("__dataclass_fields__", "__dataclass_params__")},
    }
    for name, value in attributes.items():
        setattr(cls, name, value)
    return cls
