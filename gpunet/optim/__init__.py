"""The optimizers: one file each, found by itself, and `base.py` with what they share.

OPTIMIZERS has the classes by name in lower case, in the order of `TAUGHT`, new ones last.
"""

from importlib import import_module
from pkgutil import iter_modules

from gpunet.optim.base import Optimizer

# Each builds on those before it.
TAUGHT = (
    *("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "rprop", "adadelta", "adam", "adamax"),
    *("cocob", "adamw", "amsgrad", "nadam", "radam", "adabelief", "lion"),
)

for _found in iter_modules(__path__):
    import_module(f"{__name__}.{_found.name}")


def _place(kind: type[Optimizer]) -> tuple[int, str]:
    name = kind.__name__.lower()
    return TAUGHT.index(name) if name in TAUGHT else len(TAUGHT), name


_classes = sorted(Optimizer.__subclasses__(), key=_place)
OPTIMIZERS = {kind.__name__.lower(): kind for kind in _classes}
globals().update({kind.__name__: kind for kind in _classes})
__all__ = ["OPTIMIZERS", "Optimizer", *sorted(kind.__name__ for kind in _classes)]
