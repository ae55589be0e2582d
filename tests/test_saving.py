"""gpunet.saving: models in files and back; damaged and foreign files."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

import gpunet as gn
from gpunet import saving
from gpunet.backend import to_host
from gpunet.sealing import seal

X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
LABELS = np.arange(9) % 3


class Scale(gn.Layer):
    """A layer of one's own, with a lone number."""

    def __init__(self, start: float = 1.0) -> None:
        self.start = start
        self.gain = gn.Parameter(np.array(start, np.float32))

    def call(self, x: gn.Tensor) -> gn.Tensor:
        return x * self.gain

    def config(self) -> dict[str, Any]:
        return {"start": self.start}


class Nameless(gn.Layer):
    def call(self, x: gn.Tensor) -> gn.Tensor:
        return x


MODELS: dict[str, Any] = {
    "sequential": lambda: gn.Sequential(
        gn.Affine(4, 5), gn.BatchNorm(5, momentum=0.3, eps=1e-3), gn.ReLU(), gn.Affine(5, 3)
    ),
    "mlp": lambda: gn.MLP([4, 6, 5, 3], activation="tanh", batch_norm=True, dropout=0.25),
    "nested": lambda: gn.Sequential(
        gn.Sequential(gn.Affine(4, 5), gn.Sequential(gn.Sigmoid(), gn.Dropout(0.5))),
        gn.MLP([5, 4, 3]),
    ),
    "float64": lambda: gn.MLP([4, 5, 3], batch_norm=True, dtype=np.float64),
    "no bias": lambda: gn.Sequential(gn.Affine(4, 3, bias=False)),
    "own layer": lambda: gn.Sequential(Scale(2.0), gn.Affine(4, 3)),
    "one layer": lambda: gn.Affine(4, 3),
    "empty": lambda: gn.Sequential(),
}


def trained(name: str, device: str = "cpu") -> Any:
    gn.seed(1)
    model = MODELS[name]().to(device)
    if model.parameters():
        optimizer = gn.Adam(model.parameters(), lr=0.1)
        gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer).fit((X, LABELS), epochs=2)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name: str, device: str, tmp_path: Path) -> None:
    model = trained(name, device)
    before = model.state_dict()
    gn.save(model, tmp_path / "model.safetensors")
    assert model.device == (device if model.parameters() else "cpu")
    twin: Any = gn.load(tmp_path / "model.safetensors", layers=[Scale])
    assert type(twin) is type(model)
    assert twin.device == "cpu"
    assert twin.training
    state = twin.state_dict()
    assert list(state) == list(before)
    for key, array in before.items():
        assert state[key].dtype == array.dtype
        np.testing.assert_array_equal(state[key], to_host(array))
    assert saving.describe(twin) == saving.describe(model) or name in ("mlp", "nested")
    y = to_host(model.eval()(gn.to_device(X, device)).data)
    if device == "cpu":
        np.testing.assert_array_equal(twin.eval()(X).data, y)
    else:
        np.testing.assert_array_equal(twin.to(device).eval()(gn.to_device(X, device)).numpy(), y)


def test_batch_norm_statistics_travel(tmp_path: Path) -> None:
    model = trained("sequential")
    assert model[1].running_mean.any()
    gn.save(model, tmp_path / "m")
    twin: Any = gn.load(tmp_path / "m")
    np.testing.assert_array_equal(twin[1].running_mean, model[1].running_mean)
    np.testing.assert_array_equal(twin[1].running_var, model[1].running_var)
    assert (twin[1].momentum, twin[1].eps) == (0.3, 1e-3)


def test_arrays_in_another_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors writes memory as it lies; an F-ordered array would come back scrambled."""
    model = trained("mlp")
    state = {k: np.asfortranarray(a) for k, a in model.state_dict().items()}
    assert not state["0.W"].flags.c_contiguous
    monkeypatch.setattr(model, "state_dict", lambda: state)
    gn.save(model, tmp_path / "m")
    for name, array in gn.load(tmp_path / "m").state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_a_loaded_model_trains_on(tmp_path: Path) -> None:
    gn.save(trained("sequential"), tmp_path / "m")
    one, two = gn.load(tmp_path / "m"), gn.load(tmp_path / "m")
    for model in (one, two):
        optimizer = gn.SGD(model.parameters(), lr=0.1)
        gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer).fit((X, LABELS), epochs=2)
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, two.state_dict()[name])


def test_others_can_read_the_file(tmp_path: Path) -> None:
    model = trained("mlp")
    gn.save(model, tmp_path / "m.safetensors")
    arrays = load_file(tmp_path / "m.safetensors")
    assert arrays.keys() == model.state_dict().keys()
    np.testing.assert_array_equal(arrays["0.W"], model[0].W.data)


def test_a_layer_that_does_not_describe_itself(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"old")
    with pytest.raises(NotImplementedError, match="Nameless cannot be described"):
        gn.save(gn.Sequential(gn.Affine(2, 2), Nameless()), path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["mlp", "nested"])
def test_dropout_goes_on_with_the_next_mask(name: str, tmp_path: Path) -> None:
    model = trained(name)
    gn.save(model, tmp_path / "m")
    twin: Any = gn.load(tmp_path / "m")
    assert twin.numbers() == model.numbers()
    assert any(numbers["calls"] > 0 for numbers in twin.numbers().values())
    np.testing.assert_array_equal(twin(X).data, model(X).data)


@pytest.mark.parametrize(
    "numbers", ["[]", "3", "{}", '{"3": {"calls": 1}}', '{"3": {"calls": -1, "seed": 1}}', "{"]
)
def test_numbers_that_do_not_fit(numbers: str, tmp_path: Path) -> None:
    gn.seed(0)
    model = gn.Sequential(gn.Affine(4, 3), gn.ReLU(), gn.Affine(3, 3), gn.Dropout(0.5))
    words = {"model": json.dumps(saving.describe(model)), "numbers": numbers}
    (tmp_path / "m").write_bytes(seal(model.state_dict(), words))
    refused(tmp_path / "m", "cannot rebuild the model")


# Files that are not as they should be


@pytest.fixture
def file(tmp_path: Path) -> Path:
    gn.save(trained("mlp"), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model file '.*gone'"):
        gn.load(tmp_path / "gone")


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, -1000, -1])
def test_truncated(length: int, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:length])
    refused(file, "not a readable safetensors file")


@pytest.mark.parametrize(
    "data", [b"x" * 500, pickle.dumps([1, 2]), b"\x89PNG\r\n", struct.pack("<Q", 2**62) + b"{}"]
)
def test_foreign(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(data)
    refused(tmp_path / "m", "not a readable safetensors file")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, "not a readable safetensors file")


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        refused(path, "a device, a pipe or a socket, not a file")


def test_any_byte_of_the_header_may_be_wrong(file: Path) -> None:
    whole = file.read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    for at in range(0, 8 + size, 7):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :])
        refused(file, "not a readable safetensors file")


@pytest.mark.parametrize("kind", ["model", "optimizer"])
def test_no_flipped_bit_loads(kind: str, tmp_path: Path) -> None:
    model = trained("mlp")
    path = tmp_path / "f"
    gn.save(model if kind == "model" else gn.Adam(model.parameters()), path)
    load: Any = gn.load if kind == "model" else gn.load_state
    whole = path.read_bytes()
    load(path)
    for at in range(0, len(whole), 1 if kind == "model" else 3):
        data = bytearray(whole)
        data[at] ^= 1 << (at % 8)
        path.write_bytes(data)
        with pytest.raises(gn.ModelFileError) as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        gn.save(trained("mlp"), tmp_path / name)
    again = gn.load(tmp_path / "one")
    gn.save(again, tmp_path / "three")
    contents = {(tmp_path / name).read_bytes() for name in ("one", "two", "three")}
    assert len(contents) == 1


def test_loading_does_not_move_the_generator(file: Path) -> None:
    gn.seed(7)
    before = gn.Affine(4, 3).W.data
    gn.seed(7)
    gn.load(file)
    np.testing.assert_array_equal(gn.Affine(4, 3).W.data, before)


def test_what_was_loaded_is_not_drawn_anew(file: Path) -> None:
    model: Any = gn.load(file)
    W = model[0].W.data.copy()
    gn.Sequential(model[0], gn.Sigmoid())
    np.testing.assert_array_equal(model[0].W.data, W)


@pytest.mark.parametrize("value", [-1e-9, np.inf, np.nan])
def test_a_variance_that_is_none(value: float, tmp_path: Path) -> None:
    model: Any = gn.Sequential(gn.Affine(2, 2), gn.Sequential(gn.BatchNorm(2)))
    model[1][0].running_var[1] = value
    gn.save(model, tmp_path / "m")
    refused(tmp_path / "m", r"1\.0\.running_var is a variance, and holds a negative")
    twin = gn.Sequential(gn.Affine(2, 2), gn.Sequential(gn.BatchNorm(2)))
    before = twin.state_dict()
    with pytest.raises(ValueError, match="running_var is a variance"):
        twin.load_state_dict(model.state_dict())
    for name, array in twin.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


HOSTILE: dict[str, Any] = {
    "affine": {"kind": "Affine", "in_features": 20_000, "out_features": 9_000},
    "bias": {"kind": "Affine", "in_features": 1, "out_features": 10**9},
    "mlp": {"kind": "MLP", "sizes": [30_000, 30_000, 30_000]},
    "deep": {"kind": "MLP", "sizes": [1] * 300_000},
    "batch norm": {"kind": "BatchNorm", "features": 10**9},
    "many": {"kind": "Sequential", "layers": [{"kind": "BatchNorm", "features": 9}] * 100_000},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_sizes_are_looked_at_before_memory_is_taken(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, HOSTILE[name], W)
    started = time.perf_counter()
    tracemalloc.start()
    refused(path, "cannot rebuild the model: the layers that it describes are larger than the arr")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200e6
    assert time.perf_counter() - started < 5


def test_a_file_of_before_checksums(tmp_path: Path) -> None:
    words = {"format": "gpunet 1", "model": json.dumps(AFFINE)}
    (tmp_path / "m").write_bytes(to_bytes(W, metadata=words))
    model: Any = gn.load(tmp_path / "m")
    np.testing.assert_array_equal(model.W.data, W["W"])


def written(tmp_path: Path, description: Any, arrays: Any = None, **metadata: str) -> Path:
    text = description if isinstance(description, str) else json.dumps(description)
    given = {"model": text} | metadata
    (tmp_path / "m").write_bytes(seal(arrays or {}, given))
    return tmp_path / "m"


def refused(path: Path, words: str) -> None:
    with pytest.raises(gn.ModelFileError, match=words) as caught:
        gn.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


AFFINE = {"kind": "Affine", "in_features": 2, "out_features": 1, "bias": False, "dtype": "float32"}
W = {"W": np.ones((2, 1), np.float32)}


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    model: Any = gn.load(written(tmp_path, AFFINE, W))
    np.testing.assert_array_equal(model.W.data, W["W"])


@pytest.mark.parametrize(
    ("description", "arrays", "words"),
    [
        ({"kind": "os.system"}, {}, "unknown layer kind 'os.system'; known: Affine, "),
        ({"kind": "Layer"}, {}, "unknown layer kind 'Layer'"),
        ({"kind": ["Affine"]}, {}, "cannot rebuild"),
        ({}, {}, "unknown layer kind None"),
        ([], {}, "unknown layer kind None"),
        ("5", {}, "cannot rebuild the model: TypeError"),
        ("not JSON", {}, "cannot rebuild the model: Expecting value"),
        ("[" * 100_000, {}, "cannot rebuild the model"),
        (AFFINE | {"colour": 3}, W, "cannot rebuild the model: TypeError.*colour"),
        (AFFINE | {"in_features": -2}, W, "in_features must be a whole number"),
        (AFFINE | {"in_features": 10**12, "out_features": 10**6}, W, "cannot rebuild the model"),
        (AFFINE | {"dtype": "float31"}, W, "cannot rebuild the model"),
        (AFFINE, {}, "missing: W"),
        (AFFINE, W | {"b": W["W"]}, "unexpected: b"),
        (AFFINE, {"W": np.ones((1, 2), np.float32)}, r"W has shape \(2, 1\), state has \(1, 2\)"),
        ({"kind": "Sequential"}, {}, "cannot rebuild the model: KeyError: 'layers'"),
        ({"kind": "Sequential", "layers": 3}, {}, "cannot rebuild the model"),
    ],
)
def test_descriptions_that_fit_nothing(
    description: Any, arrays: Any, words: str, tmp_path: Path
) -> None:
    refused(written(tmp_path, description, arrays), words)


def test_another_program_wrote_it(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(to_bytes(W, metadata={"format": "pt"}))
    refused(tmp_path / "m", "not written by gpunet.save .format 'pt', expected 'gpunet 2'")
    (tmp_path / "m").write_bytes(to_bytes(W))
    refused(tmp_path / "m", "not written by gpunet.save .format None")
    (tmp_path / "m").write_bytes(seal(W, {}))
    refused(tmp_path / "m", "not written by gpunet.save")
    refused(written(tmp_path, AFFINE, W, format="gpunet 3"), "format 'gpunet 3', expected")


def test_a_dtype_that_numpy_lacks(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "gpunet 1", "model": json.dumps(AFFINE)},
        "W": {"dtype": "F8_E4M3", "shape": [2, 1], "data_offsets": [0, 2]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "m").write_bytes(struct.pack("<Q", len(text)) + text + b"\0\0")
    refused(tmp_path / "m", "not a readable safetensors file: .*(float8|dtype)")


def test_own_layers_are_named_to_load(tmp_path: Path) -> None:
    gn.save(trained("own layer"), tmp_path / "m")
    refused(tmp_path / "m", r"unknown layer kind 'Scale'.*load\(path, layers=\[...\]\)")


def test_loading_runs_nothing(tmp_path: Path) -> None:
    """A file that carries a pickle, or names a callable, makes nothing happen."""

    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "exploded"),)

    for data in (pickle.dumps(Bomb()), struct.pack("<Q", 40) + pickle.dumps(Bomb())):
        (tmp_path / "m").write_bytes(data)
        refused(tmp_path / "m", "not a readable")
    for kind in ("__import__", "builtins.eval", "subprocess.Popen", "Scale"):
        refused(written(tmp_path, {"kind": kind, "args": ["true"]}), "unknown layer kind")
    assert not (tmp_path / "exploded").exists()


def test_a_failed_write_leaves_the_old_model(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = file.read_bytes()

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        gn.save(trained("sequential"), file)
    monkeypatch.undo()
    assert file.read_bytes() == old
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        gn.save(trained("mlp"), tmp_path / "missing" / "m")


CHILD = """
import itertools, sys
import numpy as np
import gpunet as gn
model = gn.Sequential(gn.Affine(600, 600, bias=False))
for k in itertools.count(1):
    model[0].W.data = np.full((600, 600), k, np.float32)
    gn.save(model, sys.argv[1])
    print(k, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_kill_9_leaves_a_whole_model(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(gn.__file__).parents[1])},
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.kill()
    model: Any = gn.load(path)
    weight = model[0].W.data
    assert weight[0, 0] >= 3
    assert (weight == weight[0, 0]).all()


def test_a_description_has_a_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers without arrays cost a file little."""
    many = {"kind": "Sequential", "layers": [{"kind": "ReLU"}] * 300_000}
    refused(written(tmp_path, many), "a model is described in 5,400,0.. bytes, over 4,194,304")
    monkeypatch.setattr(saving, "MOST_WORDS", 100)
    with pytest.raises(ValueError, match="a model is described in"):
        gn.save(trained("sequential"), tmp_path / "m")


# Optimizers


def optimized(name: str, device: str, **settings: Any) -> tuple[Any, Any]:
    gn.seed(0)
    model = gn.MLP([4, 6, 3]).to(device)
    groups = [{"params": model.parameters()[:2]}, {"params": model.parameters()[2:]}]
    return model, gn.OPTIMIZERS[name](groups, **settings)


def train_on(model: Any, optimizer: Any, kept: Any, first: int, last: int) -> list[bytes]:
    """Steps of the model and updates of a dict; all values after them."""
    step = gn.Step(model, gn.SoftmaxWithLoss(), optimizer)
    x, t = (gn.to_device(a, model.device) for a in (X, LABELS))
    for k in range(first, last):
        step(x * (k + 1), t)
        optimizer.update(kept, {key: a + k for key, a in kept.items()})
    return [to_host(a).tobytes() for a in (*model.state_dict().values(), *kept.values())]


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "cocob", "rprop"])
def test_an_optimizer_goes_on_from_its_file(name: str, device: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"weight_decay": 0.01, "clip_norm": 0.5, "decay_all": True}
    if gn.OPTIMIZERS[name].has_lr:
        settings["lr"] = 1 / 30
    model, optimizer = optimized(name, device, **settings)
    kept = {"w": np.ones((2, 2), np.float32), 3: np.ones(()), (1, "b"): np.ones(2)}
    train_on(model, optimizer, kept, 0, 3)
    later = {key: a.copy() for key, a in kept.items()}
    gn.save(model, tmp_path / "model")
    gn.save(optimizer, tmp_path / "optimizer")
    expected = train_on(model, optimizer, kept, 3, 6)
    other, fresh = optimized(name, device)  # its settings come from the file
    other.load_state_dict(gn.load_state(tmp_path / "model"))
    fresh.load_state_dict(gn.load_state(tmp_path / "optimizer"))
    for part in ("settings", "groups"):
        assert fresh.state_dict()[part] == optimizer.state_dict()[part]
    assert train_on(other, fresh, later, 3, 6) == expected
    assert fresh.t == 12  # of steps and updates


def test_another_optimizers_file(tmp_path: Path) -> None:
    gn.save(optimized("adam", "cpu")[1], tmp_path / "adam")
    with pytest.raises(ValueError, match="this is no state of AdamW, but of 'Adam'"):
        optimized("adamw", "cpu")[1].load_state_dict(gn.load_state(tmp_path / "adam"))
    with pytest.raises(gn.ModelFileError, match="holds an optimizer: optimizer"):
        gn.load(tmp_path / "adam")


def test_options_and_schedules_are_to_be_given_again(tmp_path: Path) -> None:
    gn.save(optimized("rmsprop", "cpu", momentum=0.9)[1], tmp_path / "file")
    with pytest.raises(ValueError, match="velocity of parameter 0: the settings differ"):
        optimized("rmsprop", "cpu")[1].load_state_dict(gn.load_state(tmp_path / "file"))
    rate = gn.schedules.cosine(0.1, 5)
    gn.save(optimized("sgd", "cpu", lr=rate)[1], tmp_path / "file")
    with pytest.raises(ValueError, match="has no lr; where it was a schedule, make"):
        optimized("sgd", "cpu")[1].load_state_dict(gn.load_state(tmp_path / "file"))
    again = optimized("sgd", "cpu", lr=rate)[1]
    again.load_state_dict(gn.load_state(tmp_path / "file"))
    assert again.lr == rate


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="save takes a model or an optimizer, got a dict"):
        gn.save({}, tmp_path / "file")  # type: ignore[arg-type]
    optimizer = gn.SGD()
    key = object()
    optimizer.update({key: np.ones(2)}, {key: np.ones(2)})
    with pytest.raises(TypeError, match="arrays is a object; a file can hold"):
        gn.save(optimizer, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_optimizer_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    gn.save(optimized("adam", "cpu")[1], path)
    whole, (_, optimizer) = path.read_bytes(), optimized("adam", "cpu")
    draw = np.random.default_rng(0)
    end = 8 + struct.unpack("<Q", whole[:8])[0]  # of the header
    for _ in range(300):
        data = bytearray(whole)
        data[draw.integers(end)] ^= 1 << int(draw.integers(8))
        path.write_bytes(bytes(data))
        with suppress(ValueError):  # and nothing else
            optimizer.load_state_dict(gn.load_state(path))
