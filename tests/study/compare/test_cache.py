"""A run is found again if all that determines it is the same, and only then."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from gpunet import threads
from gpunet.data import Dataset, Split
from gpunet.optim import OPTIMIZERS
from gpunet.optim.base import Pair
from gpunet.study.compare.cache import Cache
from gpunet.study.compare.grid import Run, Setup
from gpunet.study.compare.runs import Result, failure

RUN = Run("adam", 0.01, 0)


@pytest.fixture
def cache(tmp_path: Path, small: Dataset) -> Cache:
    return Cache(tmp_path / "runs", Setup(), small)


def test_round_trip(cache: Cache, make: Callable[..., Result]) -> None:
    for result in (
        make(),
        make("cocob", None, 3),
        make(loss=math.inf, nonfinite=(2, 7, "the loss"), seed=1),
        make(accuracy=None, seed=2),
    ):
        assert cache.load(result.run) is None
        cache.store(result)
        assert cache.load(result.run) == result
    for path in cache.folder.iterdir():
        json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))
        assert path.suffix == ".json"


def test_what_a_killed_process_left_goes_once(
    tmp_path: Path, small: Dataset, make: Callable[..., Result]
) -> None:
    left = tmp_path / "runs" / ".adam.0123abcd.gpunet-tmp"
    left.parent.mkdir()
    left.touch()
    cache = Cache(left.parent, Setup(), small)
    assert not left.exists()
    left.touch()
    cache.store(make())
    assert left.exists()


def test_no_flipped_bit_is_believed(cache: Cache, make: Callable[..., Result]) -> None:
    cache.store(make())
    path = cache.path(RUN)
    whole = path.read_bytes()
    for at in range(len(whole) - 1):  # but for the line's end
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        path.write_bytes(data)
        found = cache.load(RUN)
        assert found is None or found == make()  # 1.0e0 for 1.0E0, at the most


def test_what_failed_is_tried_again(cache: Cache, small: Dataset) -> None:
    cache.store(failure(RUN, small, "MemoryError: no"))
    assert cache.load(RUN) is None
    assert not cache.folder.exists()


def test_what_is_no_file_is_not_read(cache: Cache, make: Callable[..., Result]) -> None:
    cache.store(make())
    path = cache.path(RUN)
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        assert cache.load(RUN) is None
        path.unlink()
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # of zeros, that take no room
    assert cache.load(RUN) is None
    path.write_text("[" * 200_000)
    assert cache.load(RUN) is None


def damage(text: str) -> list[str]:
    content = json.loads(text)
    return [
        "",
        text[: len(text) // 2],
        "[]",
        "null",
        json.dumps({**content, "key": "0"}),
        json.dumps({**content, "seconds": [0.0]}),
        json.dumps({**content, "valid_loss": ["x", "y", "z"]}),
        json.dumps({k: v for k, v in content.items() if k != "train_loss"}),
        json.dumps({**content, "nonfinite": 3}),
    ]


def test_a_damaged_file_is_as_none(cache: Cache, make: Callable[..., Result]) -> None:
    cache.store(make())
    path = cache.path(RUN)
    whole = path.read_text()
    for text in damage(whole):
        path.write_text(text)
        assert cache.load(RUN) is None, text
    path.write_bytes(b"\xff\xfe\x00")
    assert cache.load(RUN) is None
    path.write_text(whole)
    assert cache.load(RUN) == make()


def test_everything_that_determines_a_run_is_in_its_key(
    tmp_path: Path, small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(run: Run = RUN, setup: Setup | None = None, data: Dataset = small) -> str:
        return Cache(tmp_path, setup or Setup(), data).key(run)

    x = small.train.x.copy()
    x[5, 1] = np.nextafter(x[5, 1], 9)
    t = small.test.t.copy()
    t[0] = 1 - t[0]
    keys = [
        key(),
        key(Run("adam", 0.02, 0)),
        key(Run("adamw", 0.01, 0)),
        key(Run("adam", 0.01, 1)),
        *(key(setup=Setup(hidden=hidden)) for hidden in ((100,), (1, 0), (10, 0), ())),
        key(setup=Setup(epochs=16)),
        key(setup=Setup(batch_size=33)),
        key(setup=Setup(device="cuda")),
        key(data=replace(small, train=Split(x, small.train.t))),
        key(data=replace(small, test=Split(small.test.x, t))),
        key(data=replace(small, valid=small.test, test=small.valid)),
    ]
    assert key(data=replace(small, name="another")) == keys[0], "the name determines nothing"
    with monkeypatch.context() as patch:
        patch.setattr(threads, "kernels", lambda: ["another processor's"])
        keys.append(key())
        assert key(setup=Setup(device="cuda")) in keys, "a GPU's products are not theirs"
    monkeypatch.setattr(gn, "__version__", "9")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_a_changed_default_is_another_run(
    cache: Cache, small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache.key(RUN)

    class Adam(gn.Adam):
        betas: Pair = (0.8, 0.9)

    monkeypatch.setitem(OPTIMIZERS, "adam", Adam)
    assert "0.8" in repr(RUN.make())
    assert Cache(cache.folder, Setup(), small).key(RUN) != before
