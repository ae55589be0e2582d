"""gpunet.sealing: one checksum over a whole safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from gpunet import sealing
from gpunet.sealing import FORMAT, seal, unseal

ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "lone": np.array(3.0),
    "none": np.zeros((0, 4), np.int64),
    "ä": np.array([True, False]),
}
WORDS = {"model": json.dumps({"kind": "x"}), "note": "0" * 64}


def test_round_trip() -> None:
    words, arrays = unseal(seal(ARRAYS, WORDS))
    assert words.pop("sha256").isalnum()
    assert words == {"format": FORMAT, **WORDS}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(arrays[name], array)


def test_others_read_it(tmp_path: Path) -> None:
    data = seal(ARRAYS, WORDS)
    np.testing.assert_array_equal(load(data)["b"], ARRAYS["b"])
    (tmp_path / "file").write_bytes(data)
    with safe_open(tmp_path / "file", framework="numpy") as opened:
        assert opened.metadata()["note"] == WORDS["note"]


def test_the_same_arrays_give_the_same_bytes() -> None:
    backwards = dict(reversed(ARRAYS.items()))
    assert seal(ARRAYS, WORDS) == seal(backwards, WORDS)


def test_every_flipped_bit_is_seen() -> None:
    whole = seal(ARRAYS, WORDS)
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        with pytest.raises((ValueError, SafetensorError)):
            unseal(bytes(data))


@pytest.mark.parametrize("length", [0, 7, 8, 9, 100, -1])
def test_cut_off(length: int) -> None:
    with pytest.raises(ValueError, match=r"cut off|checksum"):
        unseal(seal(ARRAYS, WORDS)[:length])
    with pytest.raises(ValueError, match="checksum is wrong"):
        unseal(seal(ARRAYS, WORDS) + b"x")


def test_a_file_of_others() -> None:
    words, arrays = unseal(save({"a": ARRAYS["lone"]}, metadata={"format": "pt"}))
    assert (words, arrays["a"]) == ({"format": "pt"}, 3.0)
    assert unseal(save({"a": ARRAYS["lone"]}))[0] == {}


def header(value: object, data: bytes = b"") -> bytes:
    text = json.dumps(value).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize("words", [3, [1], {"a": 3}, {"format": None}])
def test_words_that_are_none(words: object) -> None:
    with pytest.raises(ValueError, match="metadata are no texts"):
        unseal(header({"__metadata__": words}))


def test_a_header_has_a_size() -> None:
    with pytest.raises(ValueError, match="take 16,777,"):
        seal({}, {"long": "x" * sealing.MOST_HEADER})
    with pytest.raises(ValueError, match="at most 16,777,216 are read"):
        unseal(header({"a": "x" * sealing.MOST_HEADER}))
