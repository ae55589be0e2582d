"""gpunet.data.tables: CSV and npz files whole, odd and damaged."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from gpunet.data import DataError, Dataset, load, split


def in_file_order(found: Dataset, labels: Any = None) -> tuple[Any, Any]:
    """All rows of the three parts, as they were in the file, with these labels if any."""
    x, t = (np.concatenate([getattr(p, name) for p in parts(found)]) for name in "xt")
    numbers = np.arange(len(x), dtype=float)[:, None]
    classes = np.zeros(len(x), int) if labels is None else np.asarray(labels)
    cut = split(numbers, classes, stratify=labels is not None)
    back = np.argsort(np.concatenate([part.x[:, 0] for part in cut]))
    return x[back], t[back]


def parts(found: Dataset) -> tuple[Any, Any, Any]:
    return found.train, found.valid, found.test


def csv_file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


ROWS = [(0.5, -2.0, "a"), (1e3, 4.0, "b"), (3.25, 1.0, "a"), (0.0, 0.0, "c"), (7.0, 5.0, "b")]


def written(delimiter: str = ",", header: str = "", end: str = "\n") -> str:
    lines = [delimiter.join(str(cell) for cell in row) for row in ROWS]
    return end.join(([header.replace(",", delimiter)] if header else []) + lines) + end


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        written(),
        written(";"),
        written("\t"),
        written(header="width,height,kind"),
        written(header="0,1,Label"),
        written(";", header="width,height,kind"),
        written(end="\r\n", header="w,h,k"),
        written(end="\r"),
        written().rstrip("\n"),
        "\ufeff" + written(header="w,h,k"),
        "\ufeff" + written(),
        "\n\n" + written().replace("\n", "\n \n") + "\n\n",
        written().replace(",", " , "),
        written().replace("a", '"a"').replace("0.5", '"0.5"'),
    ],
)
def test_csv_reads_alike(text: str, tmp_path: Path) -> None:
    found = load(csv_file(tmp_path, text), normalise=False)
    x, t = in_file_order(found, [0, 1, 0, 2, 1])
    np.testing.assert_array_equal(x, np.array([row[:2] for row in ROWS], np.float32))
    assert t.tolist() == [0, 1, 0, 2, 1]
    assert found.classes == ("a", "b", "c")
    assert (found.name, x.dtype, t.dtype) == ("data", np.float32, np.int64)


@pytest.mark.parametrize("name", ["label", "TARGET", "Class"])
def test_csv_named_label_column(name: str, tmp_path: Path) -> None:
    text = f"w,{name},h\n1,9,2\n3,8,4\n5,9,6\n7,8,8\n"
    found = load(csv_file(tmp_path, text), normalise=False)
    x, t = in_file_order(found, [1, 0, 1, 0])
    assert x.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert t.tolist() == [1, 0, 1, 0]
    assert found.classes == ("8", "9")


def test_csv_is_standardised_by_its_training_rows(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(5, 3, 50).tolist()
    text = "".join(f"{value!r},3.5,{i % 2}\n" for i, value in enumerate(values))
    raw, found = (load(csv_file(tmp_path, text), normalise=on) for on in (False, True))
    np.testing.assert_allclose(found.train.x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.train.x[:, 0].std(), 1, rtol=1e-6)
    assert (found.train.x[:, 1] == 0).all()
    np.testing.assert_allclose(found.prepare(raw.test.x), found.test.x, atol=1e-6)
    assert [len(part) for part in (found.train, found.valid, found.test)] == [35, 5, 10]


def test_csv_regression(tmp_path: Path) -> None:
    found = load(csv_file(tmp_path, "1,2,0.5\n3,4,1\n5,6,-2e1\n7,8,9\n"))
    assert found.classes is None
    assert found.outputs == 1
    assert in_file_order(found)[1].tolist() == [[0.5], [1], [-20], [9]]


def test_csv_quantities_need_a_word(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "".join(f"{i},{1000 * i}\n" for i in range(30)))
    with pytest.raises(DataError, match="30 different ones from 0 to 29000; pass target='class'"):
        load(path)
    assert load(path, target="number").classes is None
    assert load(path, target="class").outputs == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,a\n3,,b\n", r"line 2, column 2: expected a number, found a missing value, ''; fill"),
        ("w,h,k\n1,2,a\nNA,3,b\n", r"line 3, column 1 \('w'\): .* found a missing value, 'NA'"),
        ("1,2,a\n3,x,b\n", "line 2, column 2: expected a number, found 'x'; write numbers"),
        ("1,2,a\n3,1_0,b\n", "line 2, column 2: expected a number, found '1_0'"),
        ("1;2.5;a\n3;1,5;b\n", "line 1, column 2: .* found '2.5'; .* or all with a decimal point"),
        ("1;2;a\n3;1,555;b\n", "line 2: .* one meaning, found '1,555', which may be thousands"),
        ("1;2;a\n3;1.55,5;b\n", "line 2, column 2: .* found '1.55,5'"),
        ("label,w\na,1\nb,?\n", r"line 3, column 2 \('w'\): .* a missing value, '\?'"),
        ("w,x,2020,kind\n1,2,3,a\n", "line 1, column 1: .* found 'w'; .* call the label column"),
        ("1,2,a\n3,4\n", "line 2: expected 3 cells as in the first line, found 2; mend that line"),
        ("1,2,a\n3,4,5,b\n", "line 2: expected 3 cells as in the first line, found 4"),
        (
            "1,2,a\n\n3,nan,b\n",
            "expected finite numbers .* found nan in line 3, column 2; mend",
        ),
        ("1,2,a\n3,inf,b\n", "finite numbers .* found inf in line 2, column 2; mend"),
        ("1,2,a\n3,1e99,b\n", r"found 1e\+99 in line 2, column 2"),
        ("1,2,0.5\n3,4,inf\n", "column 3: .* found inf in line 2, column 3;"),
        ("1,2,a\n3,4,\n", "line 2, column 3: expected a label, found a missing value, ''"),
        ("1,2,0\n3,4,nan\n", "line 2, column 3: expected a label, found a missing value, 'nan'"),
        ("1,0\n3,1\n2,NA\n", "line 3, column 2: expected a label, found a missing value, 'NA'"),
        ("1,0.5\n3,1.5\n2,oops\n", "line 3, column 2: .* as in other lines, found 'oops'"),
        ("1,2,a\n3,4,a\n", "column 3: expected at least two classes, found only 'a'"),
        ("1,a\n", "at least two classes"),
        ("1,0.5\n2,1.5\n", "2 rows leave none for training: validation takes 1, test 1; more rows"),
        ("1\n2\n", "line 1: expected two columns or more, .* found one, '1'"),
        ("w,h,label\n", "expected lines of numbers, found a header only"),
        (" \n\n", "expected lines of numbers, found blank lines only"),
        ("\ufeff", "found blank lines only"),
        ("label,w,class\n1,2,3\n", "one label column, found 'label' and 'class'; rename"),
        ("?,?,?\n0,1,a\n", "a name for every column of the header, found none for column 1"),
        ("1,2,target\n3,4,other\n\n5,6,target\n", "is no label, found 'target' in line 4 too"),
        (",w,kind\n0,1,a\n", "a name for every column of the header, found none for column 1"),
        ('1,2,a\n3,"4,b\n', r"line 2: expected a CSV line, found damage \(unexpected end"),
        ('1,2,a\n3,"4"4,b\n', "expected a CSV line, found damage"),
        ("1,2,a\n3," + "9" * 200_000 + ",b\n", "expected a CSV line, found damage .field larger"),
        (b"1,2,a\n3,\xff,b\n", "expected UTF-8 text, found the byte 0xff at offset 8"),
        (b"1,2,a\n3,\0,b\n", "expected text, found a zero byte at character 8"),
        ("1,2,a\n".encode("utf-16")[:-1], "expected UTF-16 text, as its first bytes say"),
        (bytes(range(256)), "expected UTF-8 text"),
        (bytes(64), "found a zero byte"),
    ],
)
def test_csv_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_csv_folder(tmp_path: Path) -> None:
    (tmp_path / "data.csv").mkdir()
    with pytest.raises(DataError, match="the four IDX files"):
        load(tmp_path / "data.csv")


# --- npz ------------------------------------------------------------------------------------------


def npz_file(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


X = np.arange(40.0).reshape(20, 2)
T = np.arange(20) % 4


@pytest.mark.parametrize(
    "keys", [("x", "t"), ("X", "y"), ("x", "y"), ("X", "Y"), ("x_train", "y_train")]
)
def test_npz_keys(keys: tuple[str, str], tmp_path: Path) -> None:
    found = load(
        npz_file(tmp_path, **{keys[0]: X, keys[1]: T, "note": np.array("more")}), normalise=False
    )
    x, t = in_file_order(found, T)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(t, T)
    assert (x.dtype, t.dtype, found.classes) == (np.float32, np.int64, ("0", "1", "2", "3"))
    assert [len(part) for part in (found.train, found.valid, found.test)] == [14, 2, 4]


def test_npz_keeps_its_parts(tmp_path: Path) -> None:
    path = npz_file(
        tmp_path, x_train=X, t_train=T, x_val=X[:5], y_val=T[:5], x_test=X[5:], y_test=T[5:]
    )
    found = load(path, normalise=False)
    assert sorted(found.train.x[:, 0].tolist()) == X[:, 0].tolist()
    np.testing.assert_array_equal(found.valid.x, X[:5])
    np.testing.assert_array_equal(found.test.t, T[5:])


def test_npz_cuts_what_is_missing_from_train(tmp_path: Path) -> None:
    found = load(npz_file(tmp_path, x_train=X, t_train=T, x_test=X[:5], t_test=T[:5]))
    assert [len(part) for part in (found.train, found.valid, found.test)] == [18, 2, 5]
    found = load(npz_file(tmp_path, x_train=X, t_train=T, x_valid=X[:5], t_valid=T[:5]))
    assert [len(part) for part in (found.train, found.valid, found.test)] == [16, 5, 4]


def test_npz_images_are_pixels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 4, 3), dtype=np.uint8)
    found = load(npz_file(tmp_path, x=x, t=T))
    assert (found.scale, found.shape, found.features) == (255.0, (4, 3), 12)
    np.testing.assert_array_equal(in_file_order(found, T)[0] * 255, x.reshape(20, 12))
    flat = load(npz_file(tmp_path, x=x.reshape(20, 12), t=T))
    np.testing.assert_allclose(flat.train.x.mean(0), 0, atol=1e-6)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f8", "i8", "u2", "?"])
def test_npz_number_types(kind: str, tmp_path: Path) -> None:
    x = X.astype(kind)
    found = load(npz_file(tmp_path, x=x, t=T), normalise=False)
    np.testing.assert_array_equal(in_file_order(found, T)[0], x.astype(np.float32))
    assert found.train.x.dtype == np.float32
    assert load(npz_file(tmp_path, x=x, t=T)).train.x.dtype == np.float32


def test_npz_large_whole_numbers_keep_their_differences(tmp_path: Path) -> None:
    """As float32, times in seconds would be multiples of 128."""
    x = 1_700_000_000 + np.arange(20).reshape(-1, 1)
    found = load(npz_file(tmp_path, x=x, t=T))
    assert len(np.unique(found.train.x)) == len(found.train)


def test_npz_text_and_numbers_as_targets(tmp_path: Path) -> None:
    names = np.array(["cat", "ant", "bee", "dog"])
    found = load(npz_file(tmp_path, x=X, t=names[T]))
    assert found.classes == ("ant", "bee", "cat", "dog")
    labels = np.array([2, 0, 1, 3])[T]
    assert in_file_order(found, labels)[1].tolist() == labels.tolist()
    found = load(npz_file(tmp_path, x=X, t=X / 3))
    assert (found.classes, found.outputs) == (None, 2)
    assert found.train.t.dtype == np.float32


def broken(where: int, value: float) -> Any:
    x = X.copy()
    x.flat[where] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"either x and t, or x_train and t_train .* found the keys \[\]"),
        ({"a": X, "b": T}, r"found the keys \['a', 'b'\]; rename the arrays"),
        ({"x": X}, r"expected t beside x, found the keys \['x'\]"),
        ({"t": T}, "expected x beside t"),
        ({"x_train": X, "y_test": T}, "expected t_train beside x_train"),
        ({"x": X, "t": T, "y": T}, "expected one of them, found both t and y"),
        ({"x": X, "t": T, "x_train": X, "t_train": T}, "either x and t, or x_train"),
        ({"x": X, "t": T, "x_test": X, "t_test": T}, "x_train beside x_valid or x_test"),
        ({"x": X, "t": T[:5]}, ": t: expected 20 targets, one for each row of .*: x, found 5;"),
        ({"x": X[:, 0], "t": T}, r": x: expected numbers of shape .* float64 of shape \(20,\)"),
        ({"x": X[:0], "t": T[:0]}, r"float64 of shape \(0, 2\)"),
        ({"x": X.astype(complex), "t": T}, ": x: expected numbers .* found complex128"),
        ({"x": X.astype(str), "t": T}, ": x: expected numbers"),
        ({"x": X, "t": T.astype(complex)}, ": t: expected labels or numbers .* complex128"),
        ({"x": X, "t": np.float64(1)}, r": t: expected labels or numbers of shape .* shape \(\)"),
        ({"x": X.astype(object), "t": T}, r": x: .*Object arrays cannot be loaded"),
        ({"x": X, "t": np.array([None] * 20)}, r": t: .*Object arrays cannot be loaded"),
        (
            {"x": broken(7, np.nan), "t": T},
            r": x: .* found nan in row 3, column 1 \(counted from 0\)",
        ),
        ({"x": broken(0, -np.inf), "t": T}, r"found -inf in row 0, column 0"),
        ({"x": broken(39, 1e39), "t": T}, r"found 1e\+39 in row 19, column 1"),
        ({"x": X, "t": broken(7, np.nan)[:, 1]}, r": t: .* found nan in row 3 \(counted"),
        ({"x": X[:2], "t": T[:2]}, "2 rows leave none for training"),
        ({"x_train": X, "t_train": T, "x_test": X[:, :1], "t_test": T}, r"x_test: .* shape \(2,\)"),
        (
            {"x_train": X, "t_train": T, "x_test": X, "t_test": T + 1},
            "t_test: .* found '4' in row 3",
        ),
        (
            {"x_train": T.astype("S"), "t_train": T.astype("S"), "x_test": X, "t_test": T},
            ": x_train: expected numbers of shape",
        ),
        (
            {"x_train": X, "t_train": T.astype("S"), "x_test": X, "t_test": T.astype("U")},
            r"t_test: expected targets like the \|S",
        ),
        (
            {"x_train": X, "t_train": T, "x_test": X.astype("u1"), "t_test": T},
            r"x_test: expected .* numbers other than bytes as in .*x_train, found .* of bytes;",
        ),
        (
            {"x_train": X, "t_train": T, "x_test": X, "t_test": T.astype(str)},
            "t_test: .* like the int",
        ),
    ],
)
def test_npz_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = npz_file(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_npz_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    buffer = io.BytesIO()
    np.save(buffer, X)
    for content in (buffer.getvalue(), b"\x80\x04pickle", b"1,2,a\n"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"an npz file .* found the bytes .* numpy\.savez"):
            load(path)


def test_npz_member_that_is_no_array(tmp_path: Path) -> None:
    path = npz_file(tmp_path, t=T)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", b"not an array")
    with pytest.raises(DataError, match=r"data\.npz: x: expected an array"):
        load(path)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_no_damage_to_an_npz_file_escapes_as_another_error(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=X, t=T)
    whole = path.read_bytes()
    expected = load(path)
    refused = 0
    for position in range(0, len(whole), 2):
        content = bytearray(whole)
        if damage == "cut":
            del content[position:]
        else:
            content[position] ^= 0x7F
        path.write_bytes(content)
        try:
            found = load(path)
        except DataError:
            refused += 1
        else:  # what changed is not the data, as a member's date
            np.testing.assert_array_equal(found.train.x, expected.train.x)
            np.testing.assert_array_equal(found.train.t, expected.train.t)
    assert refused > len(whole) // 4


# Sizes


def test_npz_that_grows_without_end(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.zeros((4000, 5000), np.float32), t=np.arange(4000) % 3)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"80,000,128 bytes .*, at most 33,554,432 are un"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


@pytest.mark.parametrize("shape", ["(400000000, 5)", "(0, 5)", "(2,)", "(-3, 5)", "(3, 4, 5, 6)"])
def test_npy_of_another_size_than_it_says(shape: str, tmp_path: Path) -> None:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    array = npy.magic(1, 0) + struct.pack("<H", 118) + text.encode() + bytes(8 * 15)
    path = npz_file(tmp_path, t=T)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", array)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"x: expected arrays .* \(ValueError: "):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_gzip_is_read_whatever_its_name(tmp_path: Path) -> None:
    text = "a,b,label\n" + "".join(f"{k},{k % 7},{k % 2}\n" for k in range(40))
    (tmp_path / "plain.csv").write_text(text)
    (tmp_path / "packed.csv").write_bytes(gzip.compress(text.encode()))
    plain, packed = load(tmp_path / "plain.csv"), load(tmp_path / "packed.csv")
    np.testing.assert_array_equal(plain.train.x, packed.train.x)


def test_a_nan_that_signals(tmp_path: Path) -> None:
    """Its cast to float32 warns, which is no word to a reader."""
    x = X.copy()
    x.view(np.uint64)[3, 1] = 0x7FF0000000000001
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"found nan in row 3, column 1"):
            load(npz_file(tmp_path, x=x, t=T))
