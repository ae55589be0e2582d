"""Which optimizers and settings the tests of this folder run over."""

from __future__ import annotations

from typing import Any

import gpunet as gn

# What base.py does is alike for all: these differ in what it has to do for them. No state; two
# arrays and corrections; arrays that an option adds; arrays that start from others, no rate.
REPRESENTATIVES = ["sgd", "adam", "rmsprop", "cocob"]

# Each formula once, and again where a setting changes what is computed.
FORMULAS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in gn.OPTIMIZERS),
    ("adagrad", {"eps_inside": True, "initial_accumulator": 0.1}),
    ("rmsprop", {"centered": True}),
    ("rmsprop", {"momentum": 0.9}),
    ("rmsprop", {"momentum": 0.9, "centered": True, "eps_inside": True}),
    ("adam", {"eps_hat": True, "eps_root": 1e-12}),
    ("cocob", {"eps": 0.0}),
    ("cocob", {"eps_denominator": 1e-6}),
    ("radam", {"betas": (0.9, 0.6)}),
]
LIMITS = [{}, {"clip_norm": 3.0}, {"clip_value": 0.5}, {"clip_norm": 3.0, "clip_value": 0.5}]
# What comes before every formula; the last decays by itself.
BEFORE: list[tuple[str, dict[str, Any]]] = [
    *(("adam", {**limits, "weight_decay": 0.1}) for limits in LIMITS),
    ("adam", LIMITS[-1]),
    ("adamw", {**LIMITS[-1], "weight_decay": 0.1}),
]


def name_of(case: Any) -> str:
    """Of a case, a class or a dtype, for pytest."""
    return "-".join([case[0], *case[1]]) if isinstance(case, tuple) else case.__name__
