"""gpunet.data.idx: IDX files whole, damaged and missing."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.data import DataError, load, read_idx
from gpunet.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS

FASHION = Path("/usr/share/datasets/fashion-mnist")
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(values: Any) -> bytes:
    """The bytes of an IDX file, written independently of the reader."""
    code = CODES[values.dtype.str[1:]]
    header = struct.pack(">BBBB", 0, 0, code, values.ndim) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    return header + bytes(values.astype(values.dtype.newbyteorder(">")).tobytes())


def images(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 3), dtype=np.uint8)


def labels(n: int) -> Any:
    return (np.arange(n) % 3).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "small-mnist"
    found.mkdir()
    (found / TRAIN_IMAGES).write_bytes(idx(images(30)))
    (found / TRAIN_LABELS).write_bytes(idx(labels(30)))
    (found / TEST_IMAGES).write_bytes(idx(images(6, seed=1)))
    (found / TEST_LABELS).write_bytes(idx(labels(6)))
    return found


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 3, 4), (2, 1, 2, 3)])
def test_read_idx(
    kind: str, shape: tuple[int, ...], pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(50, 20, shape).astype(kind)
    (tmp_path / "file").write_bytes(pack(idx(values)))
    found = read_idx(tmp_path / "file")
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype
    assert found.dtype.isnative
    found[0] = 0  # it is writable


def test_load_idx_folder(folder: Path) -> None:
    found = load(folder)
    assert (found.name, found.classes, found.shape) == ("small-mnist", ("0", "1", "2"), (4, 3))
    assert [len(part) for part in (found.train, found.valid, found.test)] == [27, 3, 6]
    assert (found.scale, found.shift, found.features, found.outputs) == (255.0, 0.0, 12, 3)
    expected = images(6, seed=1).reshape(6, 12).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(found.test.x, expected)
    np.testing.assert_array_equal(found.test.t, labels(6))
    assert found.test.x.dtype == np.float32
    assert found.test.t.dtype == np.int64
    # Validation comes out of the training images, each with its label, none twice.
    together = np.concatenate([found.train.x, found.valid.x])
    together_t = np.concatenate([found.train.t, found.valid.t])
    rows = {row.tobytes(): int(t) for row, t in zip(together, together_t, strict=True)}
    whole = images(30).reshape(30, 12).astype(np.float32) / np.float32(255)
    assert rows == {row.tobytes(): int(t) for row, t in zip(whole, labels(30), strict=True)}


def test_load_idx_raw(folder: Path) -> None:
    found = load(folder, normalise=False)
    assert found.train.x.dtype == np.uint8
    np.testing.assert_array_equal(found.test.x, images(6, seed=1).reshape(6, 12))
    assert (found.scale, found.shift) == (1.0, 0.0)


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_load_idx_names(folder: Path, dotted: bool, packed: bool) -> None:
    expected = load(folder)
    for path in list(folder.iterdir()):
        name = path.name.replace("-idx", ".idx") if dotted else path.name
        content = path.read_bytes()
        path.unlink()
        target = folder / (name + ".gz" if packed else name)
        target.write_bytes(gzip.compress(content) if packed else content)
    np.testing.assert_array_equal(load(folder).train.x, expected.train.x)


def test_load_idx_of_floats_is_standardised(folder: Path) -> None:
    (folder / TRAIN_IMAGES).write_bytes(idx(images(30).astype("f4")))
    (folder / TEST_IMAGES).write_bytes(idx(images(6).astype("f4")))
    found = load(folder)
    np.testing.assert_allclose(found.train.x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.train.x.std(0), 1, rtol=1e-5)


WHOLE = idx(images(30))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected data, found an empty file"),
        (b"\0\0", "expected an IDX file .* found the bytes 00 00;"),
        (b"\x89PNG" + WHOLE, "expected an IDX file .* found the bytes 89 50 4e 47;"),
        (b"\0\0\x0a\3" + WHOLE[4:], "found the bytes 00 00 0a 03"),
        (b"\0\0\x08\0" + WHOLE[4:], "expected 1 to 64 axes, found 0"),
        (b"\0\0\x08\xff" + WHOLE[4:] + bytes(2000), "expected 1 to 64 axes, found 255"),
        (WHOLE[:9], "expected a header of 16 bytes, found 9 bytes: it is cut short"),
        (
            WHOLE[:-1],
            "expected 376 bytes for shape .30, 4, 3. of uint8, found 375: it is cut short",
        ),
        (WHOLE + b"!", "found 377: it is too long; fetch it again"),
        (WHOLE[:4] + b"\xff" * 12 + WHOLE[16:], "found 376: it is cut short"),
        (gzip.compress(WHOLE, mtime=0)[:-9], r"expected a whole gzip file, found damage"),
        (gzip.compress(WHOLE, mtime=0)[:2], r"expected a whole gzip file, found damage"),
        (gzip.compress(WHOLE, mtime=0)[:-8] + bytes(8), r"whole gzip file, found damage \(CRC"),
        (gzip.compress(WHOLE, mtime=0) + b"rest", "whole gzip file, found damage"),
        (gzip.compress(b"", mtime=0), r"found the bytes \(none\)"),
        (idx(images(29)), "train-labels-idx1-ubyte: expected 29 targets, one for each row of "),
        (idx(labels(30)), r"numbers of shape \(rows, features\), found uint8 of shape \(30,\)"),
        (idx(images(0)), r"found uint8 of shape \(0, 4, 3\)"),
        (idx(images(30)[:, :3]), r"t10k.* shape \(3, 3\) .* found .* shape \(4, 3\) of bytes"),
    ],
)
def test_damaged_images(content: bytes, message: str, folder: Path) -> None:
    (folder / TRAIN_IMAGES).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_no_damage_to_a_gzip_file_goes_unseen(damage: str, tmp_path: Path) -> None:
    """Each byte changed, or the file cut there: an error of ours, or the right array."""
    whole = gzip.compress(WHOLE, mtime=0)
    path = tmp_path / "file.gz"
    for position in range(1, len(whole), 1 if damage == "cut" else 3):
        content = bytearray(whole)
        if damage == "cut":
            del content[position:]
        else:
            content[position] ^= 0x55
        path.write_bytes(content)
        try:
            found = read_idx(path)
        except DataError:
            continue
        # The header's time, flags and system are not part of what gzip protects.
        assert damage == "flip"
        assert position < 10
        np.testing.assert_array_equal(found, images(30))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            idx(np.array([0, 1, 2, 0, 1, 3], np.uint8)),
            "training part's classes, found '3' in row 5",
        ),
        (idx(labels(5)), "expected 6 targets, .* found 5; check that the two belong together"),
        (idx(labels(6).reshape(6, 1, 1)), r"labels or numbers of shape \(rows,\)"),
        (idx(labels(6).reshape(6, 1)), r"targets like the uint8 of shape \(30,\)"),
        (idx(np.array([0, 1, np.nan, 1, 1, 1], "f4")), r"nan in row 2 \(counted from 0\)"),
    ],
)
def test_damaged_labels(content: bytes, message: str, folder: Path) -> None:
    (folder / TEST_LABELS).write_bytes(content)
    with pytest.raises(DataError, match=f"{TEST_LABELS}: .*{message}"):
        load(folder)


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS])
def test_missing_file(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}\[\.gz\] among them, found no such file; put "):
        load(folder)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the four IDX files of MNIST"):
        load(tmp_path)


def test_fashion_mnist() -> None:
    """Debian's package dataset-fashion-mnist carries the real files."""
    if not FASHION.is_dir():
        pytest.skip(f"no {FASHION}: apt-get install dataset-fashion-mnist")
    found = load(FASHION)
    assert (found.name, found.shape, found.features) == ("fashion-mnist", (28, 28), 784)
    assert [len(part) for part in (found.train, found.valid, found.test)] == [54000, 6000, 10000]
    assert found.classes == tuple("0123456789")
    assert found.test.t[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert np.bincount(found.test.t).tolist() == [1000] * 10
    assert (np.bincount(found.train.t) + np.bincount(found.valid.t)).tolist() == [6000] * 10
    # The mean pixel of the whole training set is 0.2860, as everyone normalises it.
    assert abs(np.concatenate([found.train.x, found.valid.x]).mean() - 0.2860) < 1e-4


# Sets with a name, as EMNIST's


def emnist(folder: Path, name: str, seed: int) -> None:
    for part, n in (("train", 30), ("test", 6)):
        first = (labels(n) + 1).astype(np.uint8)  # letters are 1 to 26
        packed = gzip.compress(idx(images(n, seed)))
        (folder / f"emnist-{name}-{part}-images-idx3-ubyte.gz").write_bytes(packed)
        # Unpacked by a browser, but for the name: the content tells.
        (folder / f"emnist-{name}-{part}-labels-idx1-ubyte").write_bytes(gzip.compress(idx(first)))


def test_one_set_with_a_name(tmp_path: Path) -> None:
    emnist(tmp_path, "letters", 0)
    data = load(tmp_path)
    assert (len(data.train) + len(data.valid), len(data.test)) == (30, 6)
    assert data.classes == ("1", "2", "3")
    assert data.shape == (4, 3)


def test_several_sets_in_a_folder(tmp_path: Path) -> None:
    for seed, name in enumerate(["letters", "digits"]):
        emnist(tmp_path, name, seed)
    with pytest.raises(DataError, match="found 2: emnist-digits, emnist-letters; name one of them"):
        load(tmp_path)
    digits, letters = load(tmp_path / "emnist-digits"), load(str(tmp_path / "emnist-letters"))
    assert (digits.name, letters.name) == ("emnist-digits", "emnist-letters")
    assert not np.array_equal(digits.test.x, letters.test.x)
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "emnist-balanced")
    (tmp_path / "emnist-digits-test-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"emnist-digits-t10k-labels-idx1-ubyte.* no such file"):
        load(tmp_path / "emnist-digits")
    assert load(tmp_path).classes == ("1", "2", "3")  # the one that is complete


# Sizes


def test_gzip_that_grows_without_end(tmp_path: Path) -> None:
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    content = b"".join([*(packed.compress(zeros) for _ in range(256)), packed.flush()])
    (tmp_path / "file").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"at most 33,554,432 bytes in .* of gzip.*gunzip first"):
        read_idx(tmp_path / "file")
    assert tracemalloc.get_traced_memory()[1] < 3 << 26
    tracemalloc.stop()


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "random.npz").symlink_to("/dev/urandom")
    for name in ("pipe.csv", "zero.csv", "random.npz"):
        with pytest.raises(DataError, match="a readable file, found a device, a pipe or a socket"):
            load(tmp_path / name)


@pytest.mark.parametrize("axes", [3, 4])
def test_no_values_in_a_shape_beyond_any_memory(axes: int, tmp_path: Path) -> None:
    shape = (0, *[2**32 - 1] * (axes - 1))
    head = struct.pack(f">BBBB{axes}I", 0, 0, 0x0E, axes, *shape)
    (tmp_path / "file").write_bytes(head)
    with pytest.raises(DataError, match=r"expected the shape of an array, found \(0, 4294967295"):
        read_idx(tmp_path / "file")
