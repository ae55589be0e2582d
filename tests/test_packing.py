"""gpunet.packing: trees into JSON and arrays, and back."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from gpunet.backend import to_host
from gpunet.packing import pack, unpack

TREES: dict[str, Any] = {
    "plain": {"a": [1, 2.5, "three", None, True, {"b": []}], "": {}},
    "a number": 3,
    "an exact float": 0.1 + 0.2,
    "large": 2**80,
    "not finite": [math.inf, -math.inf],
    "tuples": {"betas": (0.9, (0.999,)), "list": [(), []]},
    "keys": {1: "one", "1": "text", 2.5: [], (1, 2): None, None: 0},
    "marks": [{"array": "x"}, {"tuple": [1]}, {"pairs": []}, {"array": 1, "b": 2}],
}


def through(tree: Any) -> Any:
    packed, arrays = pack(tree)
    return unpack(json.loads(json.dumps(packed)), arrays)


@pytest.mark.parametrize("name", TREES)
def test_round_trip(name: str) -> None:
    assert repr(through(TREES[name])) == repr(TREES[name])  # repr tells 1 from True and 1.0


def test_arrays(device: str, xp: Any) -> None:
    tree = {
        "a": {"b": xp.arange(3)},
        "a.b": [xp.zeros((2, 0), "f4"), xp.array(True)],
        5: xp.ones(1),
    }
    packed, arrays = pack(tree)
    assert len(arrays) == 4
    found = unpack(json.loads(json.dumps(packed)), arrays)
    assert to_host(found["a"]["b"]).tolist() == [0, 1, 2]
    assert found["a.b"][0].shape == (2, 0)
    assert found[5] is tree[5]


def test_numbers_of_numpy_become_python_s() -> None:
    found = through([np.float32(0.1), np.int64(3), np.bool_(True), np.float64(0.1)])
    assert [type(one) for one in found] == [float, int, bool, float]
    assert found == [float(np.float32(0.1)), 3, True, 0.1]


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"a": [0, object()]}, r"^a\.1 is a object; a file can hold"),
        ({1, 2}, "^it is a set"),
        ({"f": len}, "^f is a builtin_function"),
        ({"s": np.array(["x"])}, "^s is a ndarray"),
        ({"s": b"bytes"}, "^s is a bytes"),
    ],
)
def test_what_no_file_holds(tree: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        pack(tree)
