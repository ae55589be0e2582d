"""A damaged state is refused by a ValueError that names what is wrong, and changes nothing."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import schedules
from gpunet.backend import to_device, to_host

SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "rmsprop": {"momentum": 0.9, "centered": True},
    "adam": {"eps_hat": 1e-7},
    "rprop": {},
    "cocob": {},
    "nadam": {},
    "lion": {},
}
# What may stand where something else belongs.
ODD = [
    None, True, -1, 0, 1, 3.5, math.nan, -math.inf, 10**400, 2**70, -(2**70), 1e308, 1j, "", "x",
    b"bytes", [], [1], [[1.0], [2.0, 3.0]], (), {}, {"m": 1}, {1: 2}, {None: []}, set(), object(),
    len, lambda t: 0.1, np.float32(2), np.int64(3), np.zeros(()), np.zeros(3), np.zeros(3, "f4"),
    np.zeros((2, 3), "f2"), np.zeros((2, 3), complex), np.array(["a", "b"]), np.array([None, {}]),
    np.zeros((2, 3), ">f4"), np.zeros(2, "M8[s]"), np.ma.masked_all(3), gn.Parameter(np.zeros(3)),
    [10**400] * 3, ["a", "b", "c"], [1e300] * 3,
]  # fmt: skip


def made(name: str, device: str = "cpu", seed: int = 0) -> Any:
    """Two groups, two dtypes, a schedule, arrays of `update`, three updates."""
    draw = np.random.default_rng(seed)
    shapes = (((2, 3), "f4"), ((3,), "f4"), ((), "f8"))
    ps = [gn.Parameter(to_device(np.asarray(draw.random(s), d), device)) for s, d in shapes]
    groups: list[Any] = [{"params": ps[:2]}, {"params": ps[2:], "weight_decay": 0.1}]
    if gn.OPTIMIZERS[name].has_lr:
        groups[1]["lr"] = schedules.cosine(0.1, 9)
    optimizer = gn.OPTIMIZERS[name](groups, **SETTINGS[name])
    params = {"w": to_device(draw.random((2, 2)), device), 3: to_device(draw.random(2), device)}
    for _ in range(3):
        for p in ps:
            p.grad = np.asarray(draw.standard_normal(p.shape), p.dtype)
        optimizer.step()
        optimizer.update(
            params, {k: to_device(draw.random(a.shape), device) for k, a in params.items()}
        )
    return optimizer


def everything(optimizer: Any) -> bytes:
    state = optimizer.state_dict()
    arrays = [*optimizer.buffers(), *(a for s in state["arrays"].values() for a in s.values())]
    held = [to_host(a).tobytes() for a in arrays]
    return pickle.dumps((state["t"], state["groups"], list(state["arrays"]), held))


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a state."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in list(keys):
        yield tree, key
        yield from places(tree[key])


def replace(tree: Any, key: Any, choose: Any) -> None:
    tree[key] = ODD[choose.integers(len(ODD))]


def drop(tree: Any, key: Any, choose: Any) -> None:
    del tree[key]


def add(tree: Any, key: Any, choose: Any) -> None:
    extra = ODD[choose.integers(len(ODD))]
    tree.append(extra) if isinstance(tree, list) else tree.update({"extra": extra})


def nest(tree: Any, key: Any, choose: Any) -> None:
    tree[key] = [[tree[key]], {"inner": tree[key]}, (tree[key],)][choose.integers(3)]


def reshape(tree: Any, key: Any, choose: Any) -> None:
    """Another shape or dtype, where there is an array; an exchange with a neighbour elsewhere."""
    if hasattr(tree[key], "dtype"):
        change: Callable[[Any], Any] = [
            lambda a: a.reshape(-1)[:1], lambda a: a[None], lambda a: a.astype("f2"),
            lambda a: a.astype("f4" if a.dtype == "f8" else "f8"), lambda a: a.astype("i4"),
        ][choose.integers(5)]  # fmt: skip
        tree[key] = change(tree[key])
    else:
        other = next(places(tree))[1]
        tree[key], tree[other] = tree[other], tree[key]


DAMAGES = [replace, replace, drop, add, nest, reshape]


def refusal(optimizer: Any, state: Any) -> ValueError | None:
    try:
        optimizer.load_state_dict(state)
    except ValueError as error:
        return error
    return None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SETTINGS)
def test_only_value_errors_and_nothing_changed(name: str) -> None:
    optimizer, whole = made(name), made(name, seed=1).state_dict()
    before, refused = everything(optimizer), 0
    for seed in range(150):
        choose = np.random.default_rng(seed)
        state = copy.deepcopy(whole)
        for _ in range(choose.integers(1, 3)):
            found = list(places(state))
            tree, key = found[choose.integers(len(found))]
            DAMAGES[choose.integers(len(DAMAGES))](tree, key, choose)
        error = refusal(optimizer, state)
        if error is not None:
            refused += 1
            assert len(str(error)) > 10
            assert everything(optimizer) == before, f"damage {seed} changed something: {error}"
            continue
        for p in optimizer.parameters:  # harmless, such as a number for a number: then it works
            p.grad = np.ones(p.shape, p.dtype)
        with np.errstate(all="ignore"):
            optimizer.step()
        optimizer = made(name)
    assert refused > 90


@pytest.mark.parametrize("given", ODD, ids=lambda given: type(given).__name__)
def test_something_else_altogether(given: Any) -> None:
    with pytest.raises(ValueError, match=r"state|no state"):
        gn.Adam().load_state_dict(given)


def at(state: Any, path: Any, value: Any) -> Any:
    *way, last = path
    for key in way:
        state = state[key]
    state[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("t",), math.nan, "t, the number of updates, .* got nan"),
        (("t",), 2**70, "t, the number of updates"),
        (("t",), True, "t, the number of updates"),
        (("t",), 3.0, "t, the number of updates"),
        (("groups",), {"a": 1}, "groups must be a list, got dict"),
        (("groups", 0), [1], r"groups\[0\] must be a dict, got list"),
        (("groups", 0), {}, r"groups\[0\] has no lr; where it was a schedule"),
        (("groups", 0, "lr"), lambda t: 0.1, r"lr of groups\[0\] is code"),
        (("groups", 0, "lr"), 10**400, "lr must be a number at least 0"),
        (("groups", 0, "eps"), np.zeros(1), "eps must be a number at least 0"),
        (("groups", 0, "betas"), [0.9, 10**400], "betas must be a number in"),
        (("groups", 0, 7), 1, "Adam has no setting 7"),
        (("state",), [1], "state must be a dict, got list"),
        (("state", "extra"), [], "state has m, v, extra; it needs m, v"),
        (("state", "m"), np.zeros(3), "m of state must be a list, got ndarray"),
        (("state", "m", 0), np.zeros((2, 3)), "m of parameter 0 is float32, the state has float64"),
        (("state", "m", 0), np.zeros((2, 3), complex), "m of parameter 0 is float32.* complex128"),
        (("state", "m", 1), [1e300] * 3, "m of parameter 1 must be an array, got list"),
        (("state", "m", 2), "1", "m of parameter 2 must be an array, got str"),
        (("arrays",), None, "arrays must be a dict, got NoneType"),
        (("arrays", "w"), [1], r"arrays\['w'\] must be a dict, got list"),
        (("arrays", "w"), {"m": np.zeros(2)}, r"arrays\['w'\] has m; it needs m, v"),
        (("arrays", "w", "v"), [[1.0]], r"v of arrays\['w'\] must be a float32 or float64 array"),
        (("arrays", "w", "v"), np.zeros(9), r"the arrays of arrays\['w'\] differ in shape"),
    ],
)
def test_what_is_wrong_is_named(path: Any, value: Any, message: str, device: str) -> None:
    optimizer = made("adam", device)
    state = made("adam", device, seed=1).state_dict()
    before = everything(optimizer)
    at(state, path, value)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert everything(optimizer) == before


@pytest.mark.parametrize("part", ["t", "groups", "state", "arrays"])
def test_what_is_missing_is_named(part: str) -> None:
    state = made("adam").state_dict()
    del state[part]
    with pytest.raises(ValueError, match=f"the state has no {part}$"):
        made("adam").load_state_dict(state)


def test_an_option_that_would_want_other_arrays() -> None:
    """Its arrays fit, but the setting that is loaded would need one more."""
    optimizer = gn.RMSProp([gn.Parameter(np.zeros(2))])
    state = optimizer.state_dict()
    state["groups"][0]["momentum"] = 0.9
    with pytest.raises(ValueError, match=r"groups\[0\]: the optimizer has another momentum"):
        optimizer.load_state_dict(state)
