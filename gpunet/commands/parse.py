"""What users type, as values: ValueError, in words for the command line, for what is none."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Literal

from gpunet.activation import ACTIVATIONS
from gpunet.optim import OPTIMIZERS
from gpunet.study.compare.grid import default_grid, half_decades
from gpunet.train.checkpoint import seconds_of

Rates = dict[str, float]  # by optimizer; under "" what holds for the others
BALANCED: Literal["balanced"] = "balanced"
Weights = dict[str, float] | Literal["balanced"]  # of classes by name
Grid = tuple[str | None, list[float]]  # an optimizer, or None for all; rates in rising order


def one_of(text: str, known: Iterable[str], what: str) -> str:
    """`text` in lower case; the error names the nearest known one, or all."""
    name = text.strip().lower()
    names = list(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
    raise ValueError(f"unknown {what} {text.strip()!r}; {hint}")


def optimizer(text: str) -> str:
    """A name in OPTIMIZERS."""
    return one_of(text, OPTIMIZERS, "optimizer")


def optimizers(text: str) -> list[str]:
    """ "sgd,adam" as names, each once; "all" is every optimizer."""
    if text.strip().lower() == "all":
        return list(OPTIMIZERS)
    names = [optimizer(part) for part in text.split(",") if part.strip()]
    if not names:
        raise ValueError("no optimizer is named; give all, or names such as sgd,momentum,adam")
    return list(dict.fromkeys(names))


def activation(text: str) -> str:
    """A name in ACTIVATIONS."""
    return one_of(text.replace("-", "_"), ACTIVATIONS, "activation")


def class_weights(text: str) -> Weights:
    """ "balanced", or "cat=2,dog=0.5" by the classes' names; a class left out weighs 1."""
    if text.strip().lower() == BALANCED:
        return BALANCED
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.rpartition("=")
        value = finite(number)
        if not equals or not value >= 0:
            raise ValueError(f"{text!r} is neither {BALANCED} nor weights such as cat=2,dog=0.5")
        found[name.strip()] = value
    return found


def with_lr(name: str) -> str:
    """The optimizer's name, if it has a learning rate to be set."""
    if not OPTIMIZERS[name].has_lr:
        raise ValueError(f"{OPTIMIZERS[name].__name__} has no learning rate; leave it out")
    return name


def sizes(text: str) -> tuple[int, ...]:
    """ "100,50" as (100, 50); an empty text is no hidden layer."""
    try:
        found = tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        found = (0,)
    if any(size < 1 for size in found):
        raise ValueError(f"{text!r} is not a list of layer sizes, such as 100,50")
    return found


def finite(text: str) -> float:
    """The number, or nan for what is no finite number."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def interval(text: str) -> int | str:
    """ "60s" or another time as it is; "5", a number of epochs, as that."""
    value: int | str = int(text) if text.strip().isdecimal() else text
    try:
        seconds_of(value)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time, such as 60s or 5m, and no number of epochs"
        ) from None
    return value


def number(text: str) -> float:
    value = finite(text)
    if math.isnan(value):
        raise ValueError(f"{text.strip()!r} is no finite number")
    return value


def numbers(text: str) -> list[float]:
    """ "5,3,-1" as numbers."""
    return [number(part) for part in text.split(",")]


def counts(text: str) -> list[int]:
    """ "1,8,32" as whole numbers from 1; an empty text is none."""
    found = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",") if text]
    if any(count < 1 for count in found):
        raise ValueError(f"{text!r} is no list of whole numbers from 1, such as 1,8,32")
    return found


def setting(text: str) -> tuple[str, bool | float | tuple[float, ...]]:
    """ "alpha=0.9" as ("alpha", 0.9); several numbers become a tuple, true and false a bool."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise ValueError(f"{text!r} is no setting, such as alpha=0.9")
    word = value.strip().lower()
    if word in ("true", "false"):
        return name.strip(), word == "true"
    found = numbers(value)
    return name.strip(), found[0] if len(found) == 1 else tuple(found)


def positive(text: str) -> float:
    value = finite(text)
    if not value > 0:
        raise ValueError(f"{text} is not a number above 0")
    return value


def not_negative(text: str) -> float:
    value = finite(text)
    if not value >= 0:
        raise ValueError(f"{text} is not a number from 0")
    return value


def share(text: str) -> float:
    value = finite(text)
    if not 0 <= value < 1:
        raise ValueError(f"{text} is not a share from 0 to below 1")
    return value


def point(text: str) -> tuple[float, ...]:
    """ "-7,2" as (-7.0, 2.0)."""
    found = tuple(finite(part) for part in text.split(","))
    for part, value in zip(text.split(","), found, strict=True):
        if math.isnan(value):
            raise ValueError(f"{part.strip()!r} is no coordinate, such as -7,2")
    return found


def rate(text: str, *, zero: bool = True) -> float:
    """A learning rate; zero: whether it may be 0."""
    value = finite(text)
    if not (value >= 0 if zero else value > 0):
        range_ = "from 0" if zero else "above 0"
        raise ValueError(f"{text.strip()!r} is no learning rate; give a number {range_}")
    return value


def rates(text: str) -> Rates:
    """ "0.1" for all, "sgd=0.9,adam=0.1" for some, or both."""
    found: Rates = {}
    for part in filter(str.strip, text.split(",")):
        name, equals, number = part.rpartition("=")
        found[with_lr(optimizer(name)) if equals else ""] = rate(number)
    return found


def decays(text: str) -> list[float]:
    """ "0,1e-4" as weight decays, each once."""
    return list(dict.fromkeys(not_negative(part) for part in text.split(",")))


def shares(text: str) -> list[float]:
    """ "0,0.5" as shares, each once."""
    return list(dict.fromkeys(share(part) for part in text.split(",")))


def spread(text: str) -> list[float]:
    """ "0.001,0.01", or "1e-4:1" in half-decade steps."""
    return grid(text.replace("=", " "))[1]


def default_rates(optimizer: str) -> list[float]:
    """Those that `gpunet compare` tries, without the largest."""
    return default_grid(optimizer)[:-2]


def grid(text: str) -> Grid:
    """ "0.001,0.01", or "1e-4:1" (half-decade steps), for all; "lion=1e-5:1e-3" for one."""
    name, equals, numbers = text.rpartition("=")
    whose = with_lr(optimizer(name)) if equals else None
    low, colon, high = numbers.partition(":")
    if colon:
        found = half_decades(*sorted([rate(low, zero=False), rate(high, zero=False)]))
    else:
        found = sorted({rate(part, zero=False) for part in numbers.split(",") if part.strip()})
    if not found:
        hint = "no 1, 3, 10, 30, ...; give the rates themselves" if colon else "no learning rate"
        raise ValueError(f"{text!r} holds {hint}, such as 0.001,0.01")
    return whose, found
