"""tests.tools.mutants: where mistakes are planted."""

from __future__ import annotations

from pathlib import Path

import gpunet as gn
from tests.tools import mutants

CUDA = """\
// Prose: y = 2 * x.
// in:  T x
// out: T y, T total
const T half = x / T(2);  // y = half;
y = half * T(3);
if (y > T(1)) total[i] += y;
"""
PYTHON = '''
def f(x, y):
    """y = 1"""
    half = x / 2
    np.multiply(half, 3, out=y)
    return {"a": 1, "b": half}


g = Kernel("name", lambda x: x + 1)
'''


def changed(text: str, places: list[tuple[int, int]]) -> list[str]:
    return [text[slice(*place)] for place in places]


def test_every_formula_of_an_optimizer_has_a_mutant() -> None:
    names = {mutant.name for mutant in mutants.mutants()}
    for name in gn.OPTIMIZERS:
        assert {f"cuda {name}", f"numpy {name} reference"} <= names
    assert {"cuda prelude", "cuda norm", "numpy kernel clipped", "numpy kernel norm_of"} <= names


def test_places_in_a_kernel_are_what_is_written_to_its_outputs() -> None:
    assert changed(CUDA, mutants.in_cuda(CUDA)) == ["half * T(3)", "y"]
    counts = "// in: T x\n// out: raw double y, raw int64 n\ny[0] = x;\nn[0] = 1;\n"
    assert changed(counts, mutants.in_cuda(counts)) == ["x"]
    header = "// in: T x\n// out: T y\n// post: y = sqrt(a)\n"
    assert changed(header, mutants.in_cuda(header)) == ["sqrt(a)"]
    function = "T f(T x) {\n    const T y = x;\n    return y + x;\n}\n"
    assert changed(function, mutants.in_cuda(function)) == ["y + x"]


def test_places_in_a_function() -> None:
    assert changed(PYTHON, mutants.in_python(PYTHON, "f")) == ["x / 2", "half", "half"]
    assert changed(PYTHON, mutants.in_python(PYTHON, "g")) == ["x + 1"]


def test_a_mutant_is_planted_and_taken_out(tmp_path: Path) -> None:
    mutant = next(m for m in mutants.mutants() if m.name == "cuda sgd")
    file = tmp_path / mutant.file
    file.parent.mkdir(parents=True)
    mutant.plant(tmp_path)
    assert file.read_text("utf-8").endswith("param -= T(1.001) * (lr * grad);\n")
    mutant.take_out(tmp_path)
    assert file.read_bytes() == (mutants.ROOT / mutant.file).read_bytes()


def test_tests_are_counted_by_file() -> None:
    names = ["tests.optim.test_golden::a", "tests.optim.test_golden::b", "tests.test_arena::c"]
    assert mutants.by_file(names) == "test_golden 2, test_arena 1"
