"""Made tests/optim/states.json, with gpunet as of 05d7461: what must still load.

    python tests/optim/make_states.py

For each optimizer: the weights and the state after 5 updates, by `step` in two groups and by
`update` of a dict, and the weights 3 updates later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import gpunet as gn

FILE = Path(__file__).with_name("states.json")
SETTINGS = {"rmsprop": {"momentum": 0.9, "centered": True}, "adam": {"eps_hat": True}}


def gradients(t: int) -> list[Any]:
    draw = np.random.default_rng(t)
    return [draw.standard_normal(3), draw.standard_normal(2)]


def made(name: str) -> tuple[Any, list[Any]]:
    """An optimizer over two groups, and its parameters."""
    draw = np.random.default_rng(99)
    ps = [gn.Parameter(draw.standard_normal(3)), gn.Parameter(draw.standard_normal(2), decay=False)]
    groups = [{"params": ps[:1]}, {"params": ps[1:], "weight_decay": 0.2}]
    return gn.OPTIMIZERS[name](groups, weight_decay=0.1, **SETTINGS.get(name, {})), ps


def steps(
    optimizer: Any, ps: list[Any], params: dict[str, Any], first: int, last: int
) -> list[Any]:
    """Steps of both kinds; the weights after them."""
    for t in range(first, last):
        for p, g in zip(ps, gradients(t), strict=True):
            p.grad = g
        optimizer.step()
        optimizer.update(params, {"a": gradients(t)[0]})
    return [p.data.tolist() for p in ps] + [params["a"].tolist()]


def main() -> None:
    found = {}
    for name in gn.OPTIMIZERS:
        optimizer, ps = made(name)
        params = {"a": np.array([0.5, -1.0, 2.0])}
        weights = steps(optimizer, ps, params, 0, 5)
        state = optimizer.state_dict()
        text = json.dumps(state, default=lambda array: array.tolist())
        later = steps(optimizer, ps, params, 5, 8)
        found[name] = {"weights": weights, "state": json.loads(text), "later": later}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in found.items())
    FILE.write_text(f"{{\n{lines}\n}}\n", "utf-8")


if __name__ == "__main__":
    main()
