"""Models from PyTorch and for it. Its layers are told by their names, so that reading one imports
nothing; torch keeps a weight as (out, in), gpunet as (in, out).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpunet.activation import ACTIVATIONS
from gpunet.backend import Array, to_host
from gpunet.containers import Sequential, flat
from gpunet.layer import Layer
from gpunet.layers import Affine, BatchNorm, Dropout

NAMES: dict[type[Layer], dict[str, str]] = {  # torch's names of a layer's arrays
    Affine: {"W": "weight", "b": "bias"},
    BatchNorm: {
        "gamma": "weight",
        "beta": "bias",
        "running_mean": "running_mean",
        "running_var": "running_var",
    },
}
SAME = {kind.__name__: kind for kind in ACTIVATIONS.values()}
SETTINGS = {  # of activations, and torch's names of them
    "LeakyReLU": {"slope": "negative_slope"},
    "ELU": {"alpha": "alpha"},
    "GELU": {"approximate": "approximate"},
}


def from_torch(source: Any, model: Layer | None = None) -> Layer:
    """A gpunet model with the weights of a PyTorch one, on the CPU and in training mode.

    Args:
        source: a torch module, made of Sequential, Linear, BatchNorm1d, Dropout, Identity and
            the activations that gpunet has; or the `state_dict()` of one.
        model: takes the weights, layer by layer in their order, and is returned; a state_dict needs
            it, for it tells nothing of activations. None builds one from the module.

    Raises:
        TypeError: a state_dict without a model.
        NotImplementedError: a layer that gpunet does not have, or whose settings it does not have.
        ValueError: other layers or sizes than the model's, which is then as it was.
    """
    if isinstance(source, Mapping):
        if model is None:
            raise TypeError("a state_dict tells no activations: from_torch(state_dict, model)")
        state = source
    else:
        state = source.state_dict()
        if model is None:
            model = Sequential(*_layers(source, ""))
    model.load_state_dict(_renamed(state, model))
    return model


def to_torch(model: Layer) -> Any:
    """A torch.nn.Sequential with the layers of a Sequential or an MLP, in the same mode, and copies
    of its weights, on the CPU.

    Raises:
        ImportError: torch is not installed.
        NotImplementedError: a layer that this does not know, by its name.
    """
    torch = importlib.import_module("torch")
    modules = [_module(torch, k, layer) for k, layer in enumerate(flat(model))]
    made = torch.nn.Sequential(*modules).train(model.training)
    for module, layer in zip(modules, flat(model), strict=True):
        module.train(layer.training)
    return made


def _layers(module: Any, name: str) -> Iterator[Layer]:
    """gpunet's layers for a torch module, with weights as they happen to be drawn."""
    kind = type(module).__name__
    if kind == "Sequential":
        for child, inside in module.named_children():
            yield from _layers(inside, f"{name}.{child}".lstrip("."))
    elif kind == "Linear":
        yield Affine(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            dtype=_numpy(module.weight).dtype,
        )
    elif kind == "BatchNorm1d":
        if not module.affine or not module.track_running_stats or module.momentum is None:
            raise NotImplementedError(
                f"from_torch: {name} is a {module!r}; gpunet's BatchNorm has gamma, beta, running "
                "statistics and a momentum"
            )
        dtype = _numpy(module.weight).dtype
        yield BatchNorm(module.num_features, module.momentum, module.eps, dtype)
    elif kind == "Dropout":
        yield Dropout(module.p)
    elif kind in SAME:
        if getattr(module, "beta", 1) != 1:
            raise NotImplementedError(f"from_torch: {name} is a {module!r}; gpunet's has beta 1")
        names = SETTINGS.get(kind, {})
        yield SAME[kind](**{own: getattr(module, torchs) for own, torchs in names.items()})
    elif kind != "Identity":
        raise NotImplementedError(
            f"from_torch: {name or 'the module'} is a {kind}; it reads Sequential, Linear, "
            f"BatchNorm1d, Dropout, Identity, {', '.join(SAME)}"
        )


def _renamed(state: Mapping[str, Any], model: Layer) -> dict[str, Array]:
    """torch's arrays under the names they have in `model`, each Affine's weight transposed."""
    groups: dict[str, dict[str, Any]] = {}
    for name, tensor in state.items():
        place, _, own = name.rpartition(".")
        groups.setdefault(place, {})[own] = tensor
    layers = [(name, k) for name, k in model.named_layers() if type(k) in NAMES]
    if type(model) in NAMES:
        layers = [("", model)]
    if len(groups) != len(layers):
        raise ValueError(
            f"torch's state has {len(groups)} layers with arrays ({', '.join(groups)}), the model "
            f"{len(layers)} ({', '.join(name for name, _ in layers)})"
        )
    renamed = {}
    for (prefix, layer), (torchs, group) in zip(layers, groups.items(), strict=True):
        mine = {other: own for own, other in NAMES[type(layer)].items()}
        for key, tensor in group.items():
            if key == "num_batches_tracked":
                continue
            if key not in mine:
                raise ValueError(
                    f"torch's {torchs} has {', '.join(group)}; the model's {prefix} is an "
                    f"{type(layer).__name__} and takes {', '.join(mine)}"
                )
            array = _numpy(tensor)
            array = array.T if mine[key] == "W" else array
            renamed[f"{prefix}.{mine[key]}".lstrip(".")] = array
    return renamed


def _numpy(tensor: Any) -> np.ndarray[Any, Any]:
    """A torch tensor of any device, or an array, as an array."""
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)


def _module(torch: Any, position: int, layer: Layer) -> Any:
    """The torch module of a layer."""
    if isinstance(layer, Affine):
        n, m, b = layer.in_features, layer.out_features, layer.b is not None
        made = torch.nn.Linear(n, m, b, dtype=getattr(torch, layer.dtype.name))
    elif isinstance(layer, BatchNorm):
        dtype = getattr(torch, layer.dtype.name)
        made = torch.nn.BatchNorm1d(layer.features, layer.eps, layer.momentum, dtype=dtype)
    elif isinstance(layer, Dropout):
        return torch.nn.Dropout(layer.p)
    elif type(layer) in SAME.values():
        names = SETTINGS.get(type(layer).__name__, {})
        settings = {torchs: getattr(layer, own) for own, torchs in names.items()}
        return getattr(torch.nn, type(layer).__name__)(**settings)
    else:
        raise NotImplementedError(
            f"to_torch: layer {position} is a {type(layer).__name__}; it writes Affine, BatchNorm, "
            f"Dropout, {', '.join(SAME)}"
        )
    arrays = {
        own: to_host(getattr(getattr(layer, mine), "data", getattr(layer, mine)))
        for mine, own in NAMES[type(layer)].items()
        if getattr(layer, mine) is not None
    }
    for name, array in arrays.items():
        values = torch.from_numpy(np.array(array.T if name == "weight" else array, order="C"))
        with torch.no_grad():
            getattr(made, name).copy_(values)
    return made
