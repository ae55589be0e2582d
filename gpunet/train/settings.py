"""What a training is made with, in plain values, so that another one can be held against it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gpunet.layer import Layer
from gpunet.loss import Loss
from gpunet.optim import Optimizer
from gpunet.optim.declared import ONCE
from gpunet.schedules import Formula

# At which t a schedule that is the user's own function is asked for its values.
TIMES = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000, 1_000_000)
FUNCTION = "a function of t"
PLAIN = (bool, int, float, str, tuple, type(None))


def made_with(model: Layer, loss: Loss, optimizer: Optimizer) -> dict[str, Any]:
    """The settings of model, loss and optimizer."""
    groups = optimizer.groups or [optimizer.defaults]
    return {
        "model": {name: _of_layer(layer) for name, layer in layers_of(model).items()},
        "loss": _of_layer(loss),
        "optimizer": {
            "kind": type(optimizer).__name__,
            **{name: getattr(optimizer, name) for name in ONCE},
            "groups": [{k: _of_setting(v) for k, v in group.items()} for group in groups],
        },
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
    }


def make_alike(model: Layer, settings: Mapping[str, Any]) -> None:
    """Set what a callback may have changed in training: a Dropout's p, what is frozen.

    ValueError, and nothing is changed, for settings of other layers.
    """
    layers, own = layers_of(model), {k: _of_layer(v) for k, v in layers_of(model).items()}
    others = settings["model"]
    if not _settable(own, others):
        raise ValueError(f"the model's layers are others: {'; '.join(differences(others, own))}")
    for name, config in others.items():
        for setting, value in config.items():
            if own[name][setting] != value:
                setattr(layers[name], setting, value)
    for name, p in model.named_parameters():
        p.requires_grad = name not in settings["frozen"]


def _settable(own: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether they differ in numbers such as p or momentum alone."""
    return own.keys() == others.keys() and all(
        own[name].keys() == others[name].keys()
        and all(
            value == others[name][k] or (type(value) is float and type(others[name][k]) is float)
            for k, value in own[name].items()
        )
        for name in own
    )


def layers_of(model: Layer) -> dict[str, Layer]:
    return {"itself": model} | dict(model.named_layers())


def differences(was: Any, now: Any, place: str = "") -> list[str]:
    """Where two trees differ, as in "optimizer.groups.0.lr was 0.1, is 0.2"."""
    if was == now:
        return []
    if _is_function(was) and _is_function(now):
        pairs = [(t, was[FUNCTION].get(t), value) for t, value in now[FUNCTION].items()]
        return [f"{place[1:]} was {a} at t = {t}, is {b}" for t, a, b in pairs if a != b][:1]
    if _is_schedule(was) or _is_schedule(now):
        return [f"{place[1:]} was {_shown(was)}, is {_shown(now)}"]
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys([*was, *now]))
        pairs = [(key, was.get(key, "missing"), now.get(key, "missing")) for key in keys]
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [(k, *pair) for k, pair in enumerate(zip(was, now, strict=True))]
    elif place.endswith(".sha256"):
        return [f"{place[1:-7]} holds other numbers"]
    else:
        return [f"{place.lstrip('.')} was {_shown(was)}, is {_shown(now)}"]
    return [found for key, a, b in pairs for found in differences(a, b, f"{place}.{key}")]


def _of_layer(layer: Layer) -> dict[str, Any]:
    """Its class and what its `config` tells, but for layers inside and what was drawn; of a loss of
    gpunet's, its plain attributes.
    """
    found: dict[str, Any] = {}
    if isinstance(layer, Loss) and type(layer).__module__.startswith("gpunet."):
        found = {k: v for k, v in vars(layer).items() if isinstance(v, PLAIN) and k != "training"}
    elif not any(True for _ in layer.children()):
        with suppress(NotImplementedError):
            found = layer.config()
    return {"kind": type(layer).__name__, **{k: found[k] for k in found if k not in layer.drawn}}


def _of_setting(value: Any) -> Any:
    """A number as it is; a schedule by its name and numbers, a function of the user's own by some
    of its values.
    """
    if isinstance(value, Formula):
        return {"schedule": value.name, "numbers": [_of_setting(one) for one in value.numbers]}
    if callable(value):
        return {FUNCTION: {str(t): _value(value, t) for t in TIMES}}
    return value


def _value(schedule: Any, t: int) -> str:
    try:
        return repr(float(schedule(t)))
    except Exception as error:  # one that ends, say
        return type(error).__name__


def _is_function(value: Any) -> bool:
    return isinstance(value, Mapping) and FUNCTION in value


def _is_schedule(value: Any) -> bool:
    return _is_function(value) or (isinstance(value, Mapping) and "schedule" in value)


def _shown(value: Any) -> str:
    if _is_schedule(value):
        if "schedule" in value:
            return f"{value['schedule']}({', '.join(map(_shown, value['numbers']))})"
        return FUNCTION
    return value if value == "missing" else repr(value)
