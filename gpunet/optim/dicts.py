"""Dicts of arrays, the interface of the "from scratch" book: each array is a part of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module, common_module
from gpunet.optim.check import Settings
from gpunet.optim.kernel import State, UpdateKernel
from gpunet.optim.parts import Part, start
from gpunet.optim.rows import Rows


class ByKey:
    """What an optimizer, of that name and with these settings, keeps of the arrays in dicts.

    state: by key, the state arrays by name.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self.state: dict[Any, State] = {}
        self._rows: dict[tuple[bool, Any, Any], Rows] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but the rows, which are computed again."""
        return {**vars(self), "_rows": {}}

    def parts(
        self, params: Mapping[Any, Array], grads: Mapping[Any, Array], kernel: UpdateKernel
    ) -> list[Part]:
        """What an update consists of; a key that is new gets the state that the kernel wants.

        ValueError or DeviceError, naming the key, where the arrays do not fit each other or what is
        kept.
        """
        if params.keys() != grads.keys():
            differ = sorted(map(str, params.keys() ^ grads.keys()))
            raise ValueError(f"params and grads have different keys: {', '.join(differ)}")
        for key, param in params.items():
            self._check(key, param, grads[key])
        known = [a for key in params for a in self.state.get(key, {}).values()]
        common_module([*params.values(), *grads.values(), *known], self.name)
        return [self._part(key, param, grads[key], kernel) for key, param in params.items()]

    def _part(self, key: Any, param: Array, grad: Array, kernel: UpdateKernel) -> Part:
        xp, decayed = array_module(param), param.ndim > 1
        if key not in self.state:
            slots = kernel.slots(self.settings)
            state = {slot.name: xp.zeros_like(param) for slot in slots}
            start(state | {"param": param}, slots, self.settings)
            self.state[key] = state
        rows = self._rows.setdefault((decayed, xp, param.dtype), Rows(xp, param.dtype))
        return Part(grad, self.state[key] | {"param": param}, self.settings, decayed, rows)

    def _check(self, key: Any, param: Array, grad: Array) -> None:
        if array_module(param) is None or param.dtype not in (np.float32, np.float64):
            kind = getattr(param, "dtype", type(param).__name__)
            raise ValueError(
                f"params[{key!r}] must be a float32 or float64 array, got {kind}; the optimizers "
                "of gpunet.book.optimizer take numbers too"
            )
        if getattr(grad, "shape", None) != param.shape or grad.dtype != param.dtype:
            raise ValueError(
                f"grads[{key!r}] must be {param.dtype} of shape {param.shape}, got "
                f"{getattr(grad, 'dtype', type(grad).__name__)} of shape "
                f"{getattr(grad, 'shape', '?')}"
            )
        known = next(iter(self.state.get(key, {}).values()), param)
        if known.shape != param.shape or known.dtype != param.dtype:
            raise ValueError(
                f"params[{key!r}] was {known.dtype} of shape {known.shape} at the last update, "
                f"now {param.dtype} of shape {param.shape}"
            )
