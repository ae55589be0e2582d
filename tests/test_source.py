"""gpunet.source: the header of a .cu file is its signature, and no second one exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gpunet as gn
from gpunet import activations, counters, embedding, functional, source
from gpunet.ensemble import dropout
from gpunet.fused import on_cupy, resident
from gpunet.kernel import Kernel
from gpunet.optim import kernel as updates
from gpunet.train import finite

CUDA_FILES = sorted(p for p in source.kernel_dir().rglob("*") if p.suffix in (".cu", ".cuh"))
DOUBLE = re.compile(r"(?<![\w.])(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?(?!\w)")


def double_literals(text: str) -> list[str]:
    """Literals of type double that are not converted at once by T(...)."""
    code = re.sub(r"//.*|\bT\([-+.\deE]+\)", "", text)
    return [match[0] for match in DOUBLE.finditer(code)]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a file into an empty kernels/ folder, which then takes the place of the real one."""
    monkeypatch.setattr(source, "kernel_dir", lambda: tmp_path)

    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, "utf-8")
        return name.removesuffix(".cu")

    source.read.cache_clear()
    yield write
    source.read.cache_clear()


def test_the_parts_of_a_file(write) -> None:
    name = write(
        "fancy.cu",
        '// Prose.\n#include "a.cuh"\n// in: raw T x\n// numbers: int64 n\n// scalars: lr, eps\n'
        "// out: T y, T extra if wanted\n\n// a comment\ny = x[0];\nextra = y;\n",
    )
    found = source.read(name)
    assert found.inputs == (source.Argument("T", "x", raw=True),)
    assert found.numbers == (source.Argument("int64", "n"),)
    assert [p.name for p in found.signature] == ["x", "n", "y", "extra"]
    assert found.scalars == ("lr", "eps")
    assert [p.name for p in found.outputs] == ["y", "extra"]
    assert found.options == ("wanted",)
    assert [p.name for p in found.outputs_with(frozenset())] == ["y"]
    assert [p.name for p in found.outputs_with(frozenset({"wanted"}))] == ["y", "extra"]
    assert found.includes == ("a.cuh",)
    assert found.body == '#line 9 "kernels/fancy.cu"\ny = x[0];\nextra = y;'


def test_the_header_of_a_block_kernel(write) -> None:
    name = write(
        "block.cu",
        "// threads: 32, 8\n// in: T* x\n// numbers: int64 rows,\n//      int32 act\n// out: T* y\n"
        "y[0] = x[0];\n",
    )
    found = source.read(name)
    assert found.threads == (32, 8)
    assert found.inputs == (source.Argument("T", "x", pointer=True),)
    assert [p.name for p in found.numbers] == ["rows", "act"]
    assert found.outputs == (source.Argument("T", "y", pointer=True),)
    assert found.body == '#line 6 "kernels/block.cu"\ny[0] = x[0];'
    assert source.read("block").options == ()


def test_a_reduction_has_four_more_lines(write) -> None:
    header = (
        "// in: T x\n// out: T y\n// map: x\n// reduce: a + b\n// post: y = a\n// identity: 0\n"
    )
    name = write("total.cu", header)
    assert source.read(name).reduction == {
        "map": "x",
        "reduce": "a + b",
        "post": "y = a",
        "identity": "0",
    }
    assert source.read(name).body == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("// in: T x\ny = x;\n", r"kernels/bad\.cu: no line `// out:"),
        ("// in: x\n// out: T y\ny = x;\n", r"kernels/bad\.cu, line 1: .*'x'"),
        ("// in: T x\n// out: T y if\ny = x;\n", r"kernels/bad\.cu, line 2: .*'T y if'"),
        ("// in: T x\n// out: T y\n// out: T z\n", r"kernels/bad\.cu, line 3: a second .*out"),
        ("// in: T* x\n// out: T y\n", r"kernels/bad\.cu, line 1: .*'T\* x'; write `T name`"),
        ("// threads: 32\n// out: raw T y\n", r"line 2: .*'raw T y'; write `T\* array`"),
        ("// threads: 32, 0\n// out: T* y\n", r"line 1: cannot read the threads '32, 0'"),
        ("// threads: 9,9,9,9\n// out: T* y\n", r"line 1: cannot read the threads"),
    ],
)
def test_a_bad_header_is_named_with_its_line(write, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source.read(write("bad.cu", text))


def test_includes_come_once_and_keep_their_line_numbers(write) -> None:
    write("inner.cuh", "#pragma once\nint inner;\n")
    write("outer.cuh", '#pragma once\n#include "inner.cuh"\nint outer;\n')
    text = source.expand(["outer.cuh", "inner.cuh"])
    assert text == (
        '#line 1 "kernels/inner.cuh"\n\nint inner;\n#line 1 "kernels/outer.cuh"\n\n\nint outer;\n'
    )


def test_the_folder_is_found_and_a_missing_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (source.kernel_dir() / "common.cuh").is_file()
    find = source.kernel_dir.__wrapped__
    monkeypatch.setattr(source, "__file__", str(tmp_path / "gpunet" / "source.py"))
    with pytest.raises(FileNotFoundError, match="CUDA sources are missing"):
        find()


def test_every_kernel_has_an_owner_and_every_owner_a_kernel() -> None:
    modules = (
        functional, activations, embedding, updates, counters, on_cupy, resident, dropout, finite
    )  # fmt: skip
    kernels = [value for module in modules for value in vars(module).values()]
    owned = [k.source.name for k in kernels if isinstance(k, Kernel)]
    owned += [optimizer.kernel.source.name for optimizer in gn.OPTIMIZERS.values()]
    assert sorted(owned) == source.kernel_names()


@pytest.mark.parametrize("path", CUDA_FILES, ids=lambda path: path.name)
def test_no_double_literal(path: Path) -> None:
    assert double_literals(path.read_text("utf-8")) == []


@pytest.mark.parametrize("literal", ["1.0", "1.", ".5", "1e-6", "2.5e3", "1E5"])
def test_the_search_for_double_literals_finds(literal: str) -> None:
    assert double_literals(f"x = {literal} * y[2];") == [literal]


def test_the_search_for_double_literals_passes_what_is_meant() -> None:
    text = "x = T(1e-6) + T(0.5) + y / 16 + 0xE5 + 0x9E3779B97F4A7C15ULL + 0.5f;  // 1.5\n"
    assert double_literals(text.replace("0.5f", "T(0.5)")) == []


def test_a_reductions_text_has_its_arguments_names_in_no_other_word() -> None:
    """CuPy puts in0 and out0 in their place wherever they stand, so of x in max and exp, too."""
    found = [source.read(name) for name in source.kernel_names()]
    reductions = [one for one in found if one.reduction]
    assert reductions
    for one in reductions:
        names = {one.inputs[0].name, one.outputs[0].name}
        words = set(re.findall(r"\w+", f"{one.reduction['map']} {one.reduction['post']}"))
        assert not [w for w in words - names if any(name in w for name in names)]


def test_a_file_of_your_own_is_read_from_its_path(tmp_path: Path) -> None:
    own = tmp_path / "my-rule.cu"
    own.write_text('#include "common.cuh"\n// in: T x\n// out: T y\ny = sign_of(x);\n', "utf-8")
    found = source.read(own)
    assert (found.name, found.label, found.path) == ("my_rule", "my-rule.cu", own)
    assert found.body == '#line 4 "my-rule.cu"\ny = sign_of(x);'
    kernel = Kernel(own, lambda x: x)
    assert repr(kernel) == "<Kernel my-rule.cu>"
    assert kernel.text().name == "gpunet_my_rule"
    assert '#line 1 "kernels/common.cuh"' in kernel.text().preamble  # includes are gpunet's
    own.with_name("bad.cu").write_text("// in: T x\n", "utf-8")
    with pytest.raises(ValueError, match=r"^bad\.cu: no line"):
        source.read(own.with_name("bad.cu"))
