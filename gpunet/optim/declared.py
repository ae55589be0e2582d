"""Settings declared as a class's annotated attributes: `lr: Rate = 1e-3`.

Each is an argument of the constructor with its default, and an attribute of the optimizer. Type
checkers and editors know it (PEP 681: as in a dataclass), and so do help() and inspect.signature.
What follows a line `_: KW_ONLY` is given by name only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Number
from typing import TYPE_CHECKING, Any, ClassVar

from gpunet.parameter import Parameter
from gpunet.schedules import Rate

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform  # from Python 3.11 on in typing

    class Members:
        """How a type checker sees `parameters`: anything iterable goes in, a list comes out."""

        def __get__(self, optimizer: object, kind: type | None = None) -> list[Parameter]:
            raise NotImplementedError

        def __set__(self, optimizer: object, value: Iterable[Any] | None) -> None:
            raise NotImplementedError

else:

    def dataclass_transform() -> Callable[[type], type]:
        return lambda kind: kind


Pair = tuple[float, float]
ONCE = ("clip_norm", "clip_value", "decay_all")  # an optimizer has them, not each of its groups
THE_BOOKS = {"beta1": "betas", "beta2": "betas", "decay_rate": "rho", "learning_rate": "lr"}
"""Names that others have for a setting, the "from scratch" book above all."""
POSITIONAL, BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY


class Setting:
    """A setting as an attribute: read from the first group, assigned to every group."""

    def __init__(self, name: str, default: Any) -> None:
        self.name, self.default = name, default

    def __get__(self, optimizer: Any, kind: type | None = None) -> Any:
        if optimizer is None:
            return self.default
        return (optimizer.groups or [optimizer.defaults])[0][self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        for group in (optimizer.defaults, *optimizer.groups):
            group[self.name] = value


class NoRate:
    """In the place of lr where it is not declared."""

    def __get__(self, optimizer: Any, kind: type | None = None) -> None:
        name = (kind or type(optimizer)).__name__
        raise AttributeError(f"{name} has no learning rate")

    def __set__(self, optimizer: Any, value: Any) -> None:
        self.__get__(optimizer)


@dataclass_transform()
class Declared:
    """Gives its subclasses the constructor that their attributes declare."""

    if TYPE_CHECKING:
        lr: Rate
    else:
        lr = NoRate()
    has_lr: ClassVar[bool]
    """False for an optimizer without a learning rate (COCOB)."""
    arguments: ClassVar[dict[str, inspect.Parameter]] = {
        "parameters": inspect.Parameter("parameters", POSITIONAL, default=None)
    }
    """The constructor's, by name."""
    __signature__: ClassVar[inspect.Signature | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own: dict[str, inspect.Parameter] = {}
        by_name = False
        for name, annotation in inspect.get_annotations(cls).items():
            if name == "_":
                by_name = True
            elif "ClassVar" not in str(annotation):
                if name not in vars(cls):
                    raise TypeError(f"{cls.__name__}: the setting {name!r} needs a default")
                kind = BY_NAME if by_name else POSITIONAL
                own[name] = inspect.Parameter(name, kind, default=vars(cls)[name])
                if name not in ONCE:
                    setattr(cls, name, Setting(name, own[name].default))
        inherited = [p for p in cls.arguments.values() if p.name not in own]
        firsts = [p for p in inherited if p.kind == POSITIONAL]
        others = [p for p in inherited if p.kind == BY_NAME]
        ordered = sorted([*firsts, *own.values(), *others], key=lambda p: p.kind)
        cls.arguments = {p.name: p for p in ordered}
        cls.has_lr = "lr" in cls.arguments
        cls.__signature__ = None if "__init__" in vars(cls) else inspect.Signature(ordered)

    @classmethod
    def named(cls, values: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments by name, those left out at their defaults.

        TypeError for one that does not exist (it says which do), is given twice or by position
        where a name is needed; for a number in the place of the parameters.
        """
        name, settings = cls.__name__, list(cls.arguments)[1:]
        if values and isinstance(values[0], Number):
            given_by_name = f"{settings[0]}={values[0]!r}"
            raise TypeError(
                f"{name} takes parameters first, got {values[0]!r}: write {name}({given_by_name}) "
                f"or {name}(model.parameters(), {given_by_name}); gpunet.book.optimizer has the "
                "optimizers of the book, which take the rate first"
            )
        for key in given:
            if key not in cls.arguments:
                raise TypeError(
                    f"{name} has no setting {key!r}; {cls._hint(key)}it has {', '.join(settings)}"
                )
        try:
            bound = inspect.Signature(list(cls.arguments.values())).bind(*values, **given)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        bound.apply_defaults()
        return bound.arguments

    @classmethod
    def _hint(cls, name: str) -> str:
        """What to write for a setting by another's name."""
        own = cls.arguments.get(THE_BOOKS.get(name, ""))
        if own is None:
            return ""
        return (
            f"write {own.name}={own.default!r}, say (gpunet.book.optimizer has the optimizers of "
            "the book, with its arguments); "
        )
