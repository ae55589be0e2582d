"""Dicts of arrays, the interface of the "from scratch" book: what must fit before an update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module, common_module
from gpunet.optim.segment import State


def check_dicts(
    params: Mapping[Any, Array], grads: Mapping[Any, Array], kept: Mapping[Any, State], name: str
) -> None:
    """ValueError or DeviceError, naming the key, unless an update of `params` by `grads` can go on
    from the state that is `kept` by key.
    """
    if params.keys() != grads.keys():
        differ = sorted(map(str, params.keys() ^ grads.keys()))
        raise ValueError(f"params and grads have different keys: {', '.join(differ)}")
    for key, param in params.items():
        grad = grads[key]
        if array_module(param) is None or param.dtype not in (np.float32, np.float64):
            raise ValueError(f"params[{key!r}] must be a float32 or float64 array")
        if getattr(grad, "shape", None) != param.shape or grad.dtype != param.dtype:
            raise ValueError(
                f"grads[{key!r}] must be {param.dtype} of shape {param.shape}, got "
                f"{getattr(grad, 'dtype', type(grad).__name__)} of shape "
                f"{getattr(grad, 'shape', '?')}"
            )
        known = next(iter(kept.get(key, {}).values()), param)
        if known.shape != param.shape or known.dtype != param.dtype:
            raise ValueError(
                f"params[{key!r}] was {known.dtype} of shape {known.shape} at the last update, "
                f"now {param.dtype} of shape {param.shape}"
            )
    known_arrays = [a for key in params for a in kept.get(key, {}).values()]
    common_module([*params.values(), *grads.values(), *known_arrays], name)
