"""gpunet.data: the digits, splits, shuffling, batches, scaling, targets and `load`."""

from __future__ import annotations

import gzip
import hashlib
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet.data as data
from gpunet.data import DataError, Dataset, Split, batches, digits, load, permutation, split
from gpunet.data.digits import FILE
from gpunet.data.order import permutations
from gpunet.data.targets import read_targets

ROOT = Path(__file__).resolve().parents[1]


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as the paper gives it (Salmon et al., SC 2011), in Python's integers."""
    mask = 2**64 - 1
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (second >> 64) ^ b ^ k0, second & mask, (first >> 64) ^ d ^ k1, first & mask
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return [a, b, c, d]


# --- permutation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (7, 3), (2**64 - 1, 2**64 - 1)])
def test_permutation_sorts_philox_words(seed: int, epoch: int) -> None:
    key = [seed, int.from_bytes(b"shuffle.", "big")]
    words = [word for block in range(1, 26) for word in philox([block, epoch, 0, 0], key)]
    expected = sorted(range(99), key=words[:99].__getitem__)
    assert permutation(99, seed, epoch).tolist() == expected


def test_permutation_golden() -> None:
    """These orders must never change: results that people have published depend on them."""
    assert permutation(10, 0).tolist() == [6, 9, 8, 5, 2, 0, 4, 1, 3, 7]
    assert permutation(10, 0, epoch=1).tolist() == [7, 3, 4, 6, 1, 9, 2, 8, 5, 0]
    large = permutation(60_000, 1234, 5)
    assert large.dtype == np.int64
    digest = hashlib.sha256(large.astype("<i8").tobytes()).hexdigest()
    assert digest == "af7d06c3470ecf53d17e6b5f539975bc00ca429ef987c2fb9a5773a85d203806"


def test_permutation_visits_each_row_once() -> None:
    for n in (0, 1, 2, 5, 1000):
        assert sorted(permutation(n, 3).tolist()) == list(range(n))


def test_permutation_is_uniform() -> None:
    """Over 6,000 epochs each of the 24 orders of four rows comes about 250 times."""
    orders = np.array([permutation(4, 1, epoch) for epoch in range(6000)])
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    # chi-squared with 23 degrees of freedom exceeds 50 once in a thousand; the seed is fixed
    assert ((counts - 250) ** 2 / 250).sum() < 50


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-1, 0, 0), "n"), ((3, -1, 0), "seed"), ((3, 2**64, 0), "seed"), ((3, 0, -1), "epoch")],
)
def test_permutation_refuses(arguments: tuple[int, int, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        permutation(*arguments)


def test_permutation_refuses_fractions() -> None:
    with pytest.raises(TypeError, match=r"^seed must be an integer, got 0\.5"):
        permutation(3, 0.5)  # type: ignore[arg-type]


def test_many_orders_at_once() -> None:
    pairs = [(3, 0), (4, 0), (3, 7), (2**64 - 1, 2)]
    found = permutations(50, pairs)
    assert found.dtype == np.int64
    assert found.tolist() == [permutation(50, seed, epoch).tolist() for seed, epoch in pairs]
    assert permutations(0, pairs).shape == (4, 0)


def test_of_equal_words_the_lower_row_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(0).integers(0, 9, 300).astype(np.uint64)
    monkeypatch.setattr("gpunet.data.order._words", lambda n, epochs: np.stack([words] * 2))
    expected = sorted(range(300), key=words.tolist().__getitem__)
    assert permutations(300, [(0, 0), (0, 1)]).tolist() == [expected] * 2


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("size", [1, 3, 4, 12, 13, None])
def test_batches_visit_each_row_once(seed: int | None, size: int | None) -> None:
    found = list(batches(12, size, seed))
    assert sorted(np.concatenate(found).tolist()) == list(range(12))
    assert all(len(batch) == (size or 12) for batch in found[:-1])
    assert 1 <= len(found[-1]) <= (size or 12)


def test_batches_keep_or_shuffle_the_order() -> None:
    assert [batch.tolist() for batch in batches(5, 2)] == [[0, 1], [2, 3], [4]]
    shuffled = np.concatenate(list(batches(50, 7, seed=2, epoch=3)))
    assert shuffled.tolist() == permutation(50, 2, 3).tolist()
    assert shuffled.dtype == np.int64
    assert shuffled.tolist() != permutation(50, 2, 4).tolist()


def test_batches_drop_last() -> None:
    assert [batch.tolist() for batch in batches(5, 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert [batch.tolist() for batch in batches(4, 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert [batch.tolist() for batch in batches(2, 2, drop_last=True)] == [[0, 1]]
    with pytest.raises(ValueError, match="drop_last leaves no batch: batch_size is 8, n is 5"):
        batches(5, 8, drop_last=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1), ValueError, "n must be at least 1, got 0"),
        ((5, 0), ValueError, "batch_size must be at least 1, got 0"),
        ((5, -2), ValueError, "batch_size must be at least 1, got -2"),
        ((5, 2.0), TypeError, "batch_size must be an integer"),
        ((5, 2, -1), ValueError, "seed must be"),
        ((5, 2, 0, -1), ValueError, "epoch must be"),
    ],
)
def test_batches_refuse_at_the_call(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        batches(*arguments)  # not iterated: a generator function would not have raised yet


# --- Split and split ------------------------------------------------------------------------------


def numbered(n: int) -> tuple[Any, Any]:
    return np.arange(n, dtype=np.float32).reshape(-1, 1), np.arange(n)


def test_split_keeps_rows_with_their_targets() -> None:
    parts = split(*numbered(103))
    assert [len(part) for part in parts] == [71, 11, 21]
    rows = np.concatenate([part.t for part in parts])
    assert sorted(rows.tolist()) == list(range(103))
    for part in parts:
        assert part.x[:, 0].tolist() == part.t.tolist()


def test_split_golden() -> None:
    train, valid, test = split(*numbered(10))
    assert (train.t.tolist(), valid.t.tolist(), test.t.tolist()) == (
        [5, 9, 7, 2, 6, 1, 8],
        [3],
        [4, 0],
    )
    # It is not the order of a first epoch, which starts with the same seed.
    assert [*test.t, *valid.t, *train.t] != permutation(10, 0).tolist()


def test_split_counts_and_shares() -> None:
    x, t = numbered(100)
    assert [len(part) for part in split(x, t, valid=0, test=0)] == [100, 0, 0]
    assert [len(part) for part in split(x, t, valid=7, test=1)] == [92, 7, 1]
    assert [len(part) for part in split(x, t, valid=0.07, test=0.001)] == [92, 7, 1]
    assert not split(x, t, valid=0)[1]  # so that `valid or None` works
    assert split(x, t, valid=0)[2].t.tolist() == split(x, t, valid=30)[2].t.tolist()
    assert split(x, t, seed=1)[2].t.tolist() != split(x, t)[2].t.tolist()


def test_split_gives_each_part_its_share_of_every_class() -> None:
    t = np.repeat([0, 1, 2, 3, 4], [1, 2, 7, 90, 400])
    x = np.arange(500, dtype=np.float32).reshape(-1, 1)
    train, valid, test = split(x, t, stratify=True)
    rows = np.concatenate([part.x[:, 0] for part in (train, valid, test)])
    assert sorted(rows.tolist()) == list(range(500))
    counts = [np.bincount(part.t, minlength=5).tolist() for part in (train, valid, test)]
    assert counts == [[1, 1, 5, 63, 280], [0, 0, 1, 9, 40], [0, 1, 1, 18, 80]]
    assert train.t.tolist() != sorted(train.t)
    again = split(x, t, valid=0, stratify=True)
    assert again[2].x.tolist() == test.x.tolist()


def test_split_leaves_every_class_a_row_to_train_on() -> None:
    for size in (2, 3, 5, 11):
        t = np.arange(30) % 15
        t[:size] = 0
        train, valid, test = split(np.zeros((30, 1)), t, 0.3, 0.3, stratify=True)
        assert set(train.t) == set(t)
        assert len(train) + len(valid) + len(test) == 30
    alone = split(np.zeros((10, 1)), np.arange(10), stratify=True)
    assert [len(part) for part in alone] == [10, 0, 0]


def test_split_does_not_alias() -> None:
    x, t = numbered(10)
    split(x, t)[0].x[:] = -1
    assert x.min() == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"valid": 1.0}, ValueError, r"valid must be a share in \[0, 1\)"),
        ({"test": -0.1}, ValueError, "test must be a share"),
        ({"test": float("nan")}, ValueError, "test must be a share"),
        ({"valid": -1}, ValueError, "valid must be at least 0"),
        ({"valid": "1"}, TypeError, "valid must be an integer"),
        ({"valid": 5, "test": 5}, DataError, "10 rows leave none for training: validation takes 5"),
    ],
)
def test_split_refuses(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split(*numbered(10), **options)


@pytest.mark.parametrize(
    ("x", "t", "message"),
    [
        (np.zeros(3), np.zeros(3, int), r"x must be \(n, features\).*\(3,\)"),
        (np.zeros((3, 2), int), np.zeros(3, int), "x must be .* got int64"),
        (np.zeros((3, 2)), np.zeros(4, int), "x has 3 rows but t has 4"),
        (np.zeros((3, 2)), np.zeros((3, 2), int), r"integer labels t must be \(n,\)"),
        (np.zeros((3, 2)), np.array(["a"] * 3), "t must be"),
        (np.zeros((3, 2)), np.zeros((3, 1, 1)), "t must be"),
    ],
)
def test_split_checks_its_arrays(x: Any, t: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(x, t)


def test_repr_is_short() -> None:
    assert repr(digits().train) == "Split(x float32 (1257, 64), t int64 (1257,))"
    assert (
        repr(digits())
        == "Dataset('digits', 64 features, 10 classes, train 1257, valid 180, test 360)"
    )


# --- digits ---------------------------------------------------------------------------------------


def test_digits() -> None:
    found = digits()
    assert [len(part) for part in (found.train, found.valid, found.test)] == [1257, 180, 360]
    assert found.classes == tuple("0123456789")
    assert (found.features, found.outputs, found.shape) == (64, 10, (8, 8))
    assert (found.scale, found.shift) == (16.0, 0.0)
    for part in (found.train, found.valid, found.test):
        assert part.x.dtype == np.float32
        assert part.t.dtype == np.int64
        assert (part.x.min(), part.x.max()) == (0, 1)
        assert set(part.t.tolist()) == set(range(10))


def test_digits_raw_are_the_bytes() -> None:
    raw, scaled = digits(normalise=False), digits()
    assert raw.train.x.dtype == np.uint8
    assert (raw.train.x == scaled.train.x * 16).all()
    assert (raw.prepare(raw.test.x) == raw.test.x).all()
    for pixels in (raw.test.x, raw.test.x.astype(float), raw.test.x.tolist()):
        assert (scaled.prepare(pixels) == scaled.test.x).all()


def test_digits_golden() -> None:
    """The file and the split: neither may change."""
    with np.load(FILE, allow_pickle=False) as file:
        x, t = file["x"], file["t"]
    assert (x.dtype, x.shape, t.dtype, t.shape) == (np.uint8, (1797, 64), np.uint8, (1797,))
    assert (
        hashlib.sha256(x.tobytes() + t.tobytes()).hexdigest()
        == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    )
    assert digits().test.t[:10].tolist() == [3, 4, 0, 3, 5, 2, 5, 0, 4, 1]
    assert digits().train.t[:10].tolist() == [0, 0, 0, 5, 0, 6, 3, 8, 1, 4]


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    theirs = sklearn.load_digits()
    runpy.run_path(str(ROOT / "tests" / "tools" / "make_digits.py"))["make"](tmp_path / "made.npz")
    for path in (FILE, tmp_path / "made.npz"):
        with np.load(path, allow_pickle=False) as file:
            assert (file["x"] == theirs.data).all()
            assert (file["t"] == theirs.target).all()


def test_digits_can_be_learned() -> None:
    """The rows still belong to their labels: the nearest training image is right for most."""
    found = digits()
    train, test = found.train, found.test
    distance = (train.x**2).sum(1) - 2 * test.x @ train.x.T
    assert (train.t[distance.argmin(1)] == test.t).mean() > 0.97


# --- scaling --------------------------------------------------------------------------------------


def table(x: Any, n_train: int) -> Dataset:
    t = np.zeros(len(x), dtype=np.int64)
    train, rest = Split(x[:n_train], t[:n_train]), Split(x[n_train:], t[n_train:])
    return Dataset("table", train, rest, rest, ("a", "b"))


def test_standardised_by_the_training_rows() -> None:
    x = np.random.default_rng(0).normal([3, -1e6, 1e-3], [2, 5, 1e-6], (90, 3))
    x[60:] += 100
    found = table(x, 60).standardised()
    assert found.train.x.dtype == found.test.x.dtype == np.float32
    np.testing.assert_allclose(found.train.x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.train.x.std(0), 1, rtol=1e-6)
    assert (found.test.x.mean(0) > 10).all()
    np.testing.assert_array_equal(found.prepare(x[60:]), found.test.x)
    np.testing.assert_allclose(found.train.x * found.scale + found.shift, x[:60], rtol=1e-6)


def test_standardised_constant_column() -> None:
    x = np.full((30, 2), 0.1)
    x[:, 1] = np.arange(30)
    x[25:, 0] = 2.1
    found = table(x, 20).standardised()
    assert (found.train.x[:, 0] == 0).all()
    assert found.test.x[-1, 0] == 2


def test_scales_compose() -> None:
    raw = digits(normalise=False)
    twice = digits().standardised()
    np.testing.assert_allclose(twice.prepare(raw.test.x), twice.test.x, atol=1e-5)


def test_scaling_never_yields_inf() -> None:
    x = np.array([[0.0], [1e-30], [0.0], [1e30]])
    with pytest.raises(DataError, match="table: features overflow float32 once scaled"):
        table(x, 3).standardised()


def test_scaled_targets() -> None:
    x, t = np.zeros((40, 1)), np.arange(80.0).reshape(40, 2) * [1, 3] + [1e9, 0]
    raw = Dataset("table", *split(x, t), None)
    found = raw.with_scaled_targets()
    np.testing.assert_allclose(found.train.t.mean(0), 0, atol=1e-6)
    assert (found.train.t**2).mean() == pytest.approx(1)
    back = found.test.t * found.target_scale + found.target_shift
    np.testing.assert_allclose(back, raw.test.t, rtol=1e-6)
    twice = found.with_scaled_targets()
    assert twice.target_scale == pytest.approx(found.target_scale)
    assert digits().with_scaled_targets().train.t.dtype == np.int64
    constant = Dataset("table", *split(x, t * 0 + 5), None).with_scaled_targets()
    assert constant.target_scale == 1
    assert not constant.train.t.any()


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "labels", "classes"),
    [
        ([2, 0, 1, 1], [2, 0, 1, 1], ("0", "1", "2")),
        ([1, 3, 2], [0, 2, 1], ("1", "2", "3")),
        ([-1, 1, -1], [0, 1, 0], ("-1", "1")),
        ([10.0, 9.0], [1, 0], ("9", "10")),
        ([[7], [3]], [1, 0], ("3", "7")),
        ([True, False], [1, 0], ("0", "1")),
        (["b", "é", "a", "B"], [2, 3, 1, 0], ("B", "a", "b", "é")),
        ([b"no", b"yes"], [0, 1], ("no", "yes")),
        ([b"\xb0\xa1", b"\xb0\xa2"], [0, 1], ("\\xb0\\xa1", "\\xb0\\xa2")),
        ([b"\xb0", b"\\xb0"], [1, 0], (r"b'\\xb0'", r"b'\xb0'")),
        ([2**53 + 1, 2**53], [1, 0], (str(2**53), str(2**53 + 1))),
        (list(range(1, 41)), list(range(40)), tuple(str(i) for i in range(1, 41))),
    ],
)
def test_targets_classes(values: Any, labels: list[int], classes: tuple[str, ...]) -> None:
    t, names = read_targets(np.array(values), "file")
    assert t.tolist() == labels
    assert t.dtype == np.int64
    assert names == classes


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([0.5, 1, 2], {}),
        ([[0.5, 1], [2, 3]], {}),
        ([0, 1, 2], {"target": "number"}),
        ([[1, 0], [0, 1]], {"target": "number"}),
    ],
)
def test_targets_numbers(values: Any, options: dict[str, Any]) -> None:
    t, names = read_targets(np.array(values), "file", **options)
    assert names is None
    assert t.dtype == np.float32
    assert t.tolist() == np.array(values, dtype=float).reshape(len(values), -1).tolist()


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([4, 4], {}, "at least two classes, found only '4'; there is nothing to learn"),
        (list(range(0, 60, 2)), {}, "30 different ones from 0 to 58; pass target='class'"),
        (list(range(2, 40)), {}, "38 different ones from 2 to 39"),
        ([f"id {i}" for i in range(30)], {}, "30 different texts in 30 rows"),
        (["a", "b"], {"target": "number"}, "expected numbers, found text, 'a'"),
        ([0, 1.5], {"target": "class"}, "whole numbers as class labels, found 1.5 in row 1"),
        ([[1, 0], [0, 1]], {}, r"labels of shape \(n,\).*argmax\(axis=1\)"),
        ([[1.0, 0], [0, 1]], {"target": "class"}, r"labels of shape \(n,\)"),
        ([[1.0, 0], [0, 1]], {}, r"found whole numbers in float64 .*argmax\(axis=1\)"),
        ([[1.0, 1], [0, 1]], {}, "target='number' if they are quantities"),
        ([["a", "b"]], {}, r"text labels of shape \(n,\)"),
    ],
)
def test_targets_refused(values: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^file: .*{message}"):
        read_targets(np.array(values), "file", **options)


def test_targets_that_float32_would_blur() -> None:
    t, _ = read_targets(1_700_000_000.5 + np.arange(50), "file")
    assert np.ptp(t) == 49
    assert read_targets(200_000.5 + 5000.0 * np.arange(50), "file")[0].dtype == np.float32


def test_targets_told_what_they_are() -> None:
    assert read_targets(np.arange(0, 60, 2), "file", "class")[0].tolist() == list(range(30))
    assert read_targets(np.arange(0, 60, 2), "file", "number")[1] is None
    with pytest.raises(ValueError, match="target must be 'auto', 'class' or 'number', got 'both'"):
        read_targets(np.arange(2), "file", "both")  # type: ignore[arg-type]


# --- load -----------------------------------------------------------------------------------------


def test_load_digits() -> None:
    np.testing.assert_array_equal(load("digits").train.x, digits().train.x)
    assert load("digits", normalise=False).train.x.dtype == np.uint8


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("mnist", "found no such file or folder"),
        ("missing.csv", "found no such file or folder"),
        ("", "found no such file or folder"),
        ("a\0b.csv", "found no such file or folder"),
        ("two\nlines", "found no such file or folder"),
        ("notes.txt", "found a file ending in '.txt'"),
        ("README", "found a file without an ending"),
        (None, "found None"),
        (3, "found 3"),
        (b"digits", "found b'digits'"),
    ],
)
def test_load_refuses(
    source: Any, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("1,2\n")
    (tmp_path / "README").write_text("1,2\n")
    with pytest.raises(DataError) as caught:
        load(source)
    message = str(caught.value)
    assert found in message
    assert "expected 'digits', a folder of IDX files, a .csv or an .npz" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["data.csv", "data.npz"])
def test_load_unreadable_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    path.write_bytes(b"1,2\n")
    path.chmod(0)
    if _readable(path):
        # The superuser may read everything: have the system refuse in its stead.
        def refuse(self: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="a readable file, found Permission denied; check the path"):
        load(path)


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except PermissionError:
        return False
    return True


@pytest.mark.parametrize("name", ["data.csv", "data.npz"])
def test_load_zero_bytes(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"expected data, found an empty file \(0 bytes\)"):
        load(tmp_path / name)


def test_data_error_is_one_line_and_a_value_error() -> None:
    error = DataError("a\nb\r\n  c")
    assert str(error) == "a b c"
    assert isinstance(error, ValueError)


def test_exports() -> None:
    assert all(hasattr(data, name) for name in data.__all__)


def test_imports_nothing_that_is_slow_and_little_of_gpunet() -> None:
    # An empty package in gpunet's place: what gpunet itself imports is not of interest here.
    code = """
import importlib, sys, types
package = types.ModuleType("gpunet")
package.__path__ = [sys.argv[1]]
sys.modules["gpunet"] = package
importlib.import_module("gpunet.data")
print(*sys.modules)
"""
    command = [sys.executable, "-c", code, str(ROOT / "gpunet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy.random", "zipfile", "sklearn", "pandas", "cupy"}
    ours = {name for name in loaded if name.startswith("gpunet.")}
    # The reading of files; it imports nothing in turn.
    assert {name for name in ours if not name.startswith("gpunet.data")} == {"gpunet.files"}
    assert "gpunet.data.tables" in ours


def test_what_does_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise MemoryError("Unable to allocate 9 TB")

    monkeypatch.setattr(np, "frombuffer", fail)
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    with pytest.raises(DataError, match=r"a.csv: expected data that fit into memory, .*9 TB"):
        load(tmp_path / "a.csv")


# Shares


def test_shares_of_the_rows(tmp_path: Path) -> None:
    lines = "".join(f"{k},{k % 7},{'ab'[k % 2]}\n" for k in range(200))
    (tmp_path / "t.csv").write_text(lines)
    np.savez(tmp_path / "t.npz", x=np.arange(400.0).reshape(200, 2), t=np.arange(200) % 2)
    shares = data.Shares(0.25, 0.05)
    for source in (tmp_path / "t.csv", tmp_path / "t.npz"):
        found = load(source, shares=shares)
        assert [len(p) for p in (found.train, found.valid, found.test)] == [140, 50, 10]
        none = load(source, shares=data.Shares(0, 0))
        assert [len(p) for p in (none.train, none.valid, none.test)] == [200, 0, 0]
    found = load("digits", shares=data.Shares(test=0))
    assert [len(p) for p in (found.train, found.valid, found.test)] == [1617, 180, 0]
    with pytest.raises(ValueError, match="valid must be a share"):
        load(tmp_path / "t.csv", shares=data.Shares(valid=1.5))


def test_a_packed_table_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b,label\n" + b"1,2,x\n2,5,y\n" * 20))
    assert load(tmp_path / "t.csv.gz").outputs == 2
