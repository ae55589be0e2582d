"""gpunet.testing.compile_gate: every kernel compiles, and what is wrong with one is seen."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpunet as gn
from gpunet import functional
from gpunet.fused import resident
from gpunet.source import kernel_dir, kernel_names, read
from gpunet.testing import compile_gate, gxx, nvrtc, simgpu
from gpunet.testing.compile_gate import (
    ARCHITECTURES,
    DTYPES,
    MISSING,
    PACKAGE,
    Build,
    in_own_process,
)
from gpunet.testing.nvrtc import Measured, Program

LOG = """ptxas info    : Compiling entry function 'k' for 'sm_90'
ptxas         . {frame} bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 152 bytes smem, 568 bytes cmem[0]
"""


def need(compiler: str, missing: dict[str, str]) -> None:
    """Skip, or with GPUNET_REQUIRE_NVRTC=1 fail, where the compiler is not there."""
    if compiler in missing:
        refuse = pytest.fail if os.environ.get("GPUNET_REQUIRE_NVRTC") else pytest.skip
        refuse(f"no {compiler}: {missing[compiler]}")


# All kernels


@pytest.fixture(scope="module")
def gate() -> tuple[int, str, dict[str, Any]]:
    return in_own_process()


def test_no_kernel_has_a_problem(gate: Any) -> None:
    status, output, report = gate
    assert report.get("problems") == [], output
    assert status in (0, MISSING), output


def test_every_kernel_is_compiled_for_every_architecture(gate: Any) -> None:
    need("NVRTC", gate[2]["missing"])
    built = {(b["kernel"], b["dtype"], b["arch"]) for b in gate[2]["builds"]}
    assert built == {(k, d, a) for k in kernel_names() for d in DTYPES for a in ARCHITECTURES}


def test_every_choice_of_options_is_compiled(gate: Any) -> None:
    need("NVRTC", gate[2]["missing"])
    options = {b["options"] for b in gate[2]["builds"] if b["kernel"] == "optim/rmsprop"}
    single = ["", "centered", "momentum", "centered, momentum"]
    vectors = (", ".join(filter(None, [one, "vectors"])) for one in single)
    assert options == {*single, *vectors, "centered, models, momentum, vectors"}


def test_the_table_has_a_line_for_every_kernel(gate: Any) -> None:
    _, output, report = gate
    need("NVRTC", report["missing"])
    for name in kernel_names():
        assert re.search(rf"^{name} +float32( +\d+){{5}}", output, re.MULTILINE), output
    assert re.search(r"NVRTC [\d.]+, nvdisasm [\w.]+: \d+ programs, [\d.]+ s", output)


def test_the_table_shows_the_machine_code(gate: Any) -> None:
    need("NVRTC", gate[2]["missing"])
    need("nvdisasm", gate[2]["missing"])
    (sgd,) = re.findall(r"^optim/sgd +float32 .*x32$", gate[1], re.MULTILINE)
    instructions, each, loads, stores = sgd.split()[7:11]
    assert instructions == each  # one element a thread
    assert 40 < int(each) < 100
    assert re.fullmatch(r"\d+x32", loads)
    assert stores == "1x32"
    (sgd,) = re.findall(r"^optim/sgd +float32 .*x128 +vectors$", gate[1], re.MULTILINE)
    instructions, each, *loads = sgd.split()[7:11]
    assert int(instructions) == pytest.approx(4 * int(each), abs=4)
    assert loads[1] == "2x128"
    (norm,) = re.findall(r"^optim/norm +float64 .* CUB first pass", gate[1], re.MULTILINE)
    assert norm.split()[8] == "-"  # a reduction has no element of its own


def test_docs_machine_code_md_says_what_the_gate_finds_of_updates(gate: Any) -> None:
    need("NVRTC", gate[2]["missing"])
    need("nvdisasm", gate[2]["missing"])
    told = {cells[0]: cells[1:] for cells in documented("Updates")}
    builds = [b for b in gate[2]["builds"] if b["kernel"].startswith("optim/")]
    builds = [b for b in builds if b["kernel"] != "optim/norm"]  # a reduction
    builds = [Build(**b | {"measured": Measured(**b["measured"])}) for b in builds]
    builds = [b for b in builds if (b.dtype, b.arch, b.part) == ("float32", "90", "")]
    several = [b for b in builds if "models" in b.options.split(", ")]
    builds = [b for b in builds if b not in several]
    found = {name_of_update(b): b for b in builds if "vectors" in b.options}
    assert found.keys() == told.keys()
    for name, build in found.items():
        _, each, registers, wide, narrow = told[name]
        m = build.measured
        assert build.per_element == pytest.approx(int(each), rel=0.1, abs=2), name
        assert m.registers == pytest.approx(int(registers), abs=8), name
        assert f"{m.loads['128']} + {m.stores['128']}" == wide, name
        assert m.loads["32"] == int(narrow), name
    for build in several:  # no more than where its model's row begins
        single = found[name_of_update(build).replace(", models", "")]
        assert build.per_element < single.per_element + 20
        assert build.measured.loads["128"] == single.measured.loads["128"]
    others = [b for b in builds if "vectors" not in b.options.split(", ")]
    single = {name_of_update(b): b.per_element for b in others}
    assert all(found[name].per_element < 0.6 * each for name, each in single.items())


def test_docs_machine_code_md_says_what_the_gate_finds_of_layers(gate: Any) -> None:
    need("NVRTC", gate[2]["missing"])
    need("nvdisasm", gate[2]["missing"])
    told = {
        cells[0]: [int(cell) for cell in cells[1:5]] for cells in documented("Between the products")
    }
    builds = [Build(**b | {"measured": Measured(**b["measured"])}) for b in gate[2]["builds"]]
    of_layers = [b for b in builds if (b.dtype, b.arch, b.kernel[:3]) == ("float32", "90", "nn/")]
    found = {b.kernel.removeprefix("nn/"): b.measured for b in of_layers}
    assert told.keys() <= found.keys()
    for name, (instructions, registers, *exact) in told.items():
        m = found[name]
        assert m.instructions == pytest.approx(instructions, rel=0.1, abs=5), name
        assert m.registers == pytest.approx(registers, abs=8), name
        assert [m.shared, m.frame] == exact, name


def test_docs_machine_code_md_says_what_is_taken_at_once(gate: Any) -> None:
    need("NVRTC", gate[2]["missing"])
    need("nvdisasm", gate[2]["missing"])
    builds = [b for b in gate[2]["builds"] if (b["dtype"], b["arch"]) == ("float32", "90")]
    found = {b["kernel"]: b["measured"] for b in builds}
    for name, at_once, _, before, now in documented("Between the products", 1):
        m = found[f"nn/{name}"]
        assert m["instructions"] / int(at_once) == pytest.approx(int(now), rel=0.1), name
        assert int(now) < 0.5 * int(before), name
        if at_once == "4":
            assert m["stores"]["128"] == 1, name


def name_of_update(build: Build) -> str:
    options = [word for word in build.options.split(", ") if word not in ("", "vectors")]
    return ", ".join([build.kernel.removeprefix("optim/"), *options])


def documented(heading: str, n: int = 0) -> list[list[str]]:
    """The rows of a table below a heading of docs/machine_code.md, of which it is the n-th."""
    page = (Path(__file__).parent.parent / "docs/machine_code.md").read_text("utf-8")
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    table = [part for part in section.split("\n\n") if part.startswith("|")][n]
    lines = [line.strip("| ") for line in table.splitlines()]
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


# Kernels with something wrong, in a copy of the package


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, root / "gpunet", ignore=shutil.ignore_patterns("__pycache__"))
    if not (root / "gpunet" / "kernels").is_dir():
        shutil.copytree(kernel_dir(), root / "kernels")
    return root


def change(copy: Path, name: str, old: str, new: str) -> None:
    file = next(copy.rglob(f"kernels/{name}.cu"))
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


def body(copy: Path, name: str, new: str) -> None:
    """The kernel with another formula."""
    source = read(name)
    change(copy, name, source.path.read_text("utf-8").splitlines(True)[-1], new)


SPILLING = """\
T many[300];
#pragma unroll
for (int k = 0; k < 300; ++k) many[k] = x * T(k) + T(_raw_x.size() + k * k) / x;
T sum = T(0);
#pragma unroll
for (int k = 0; k < 300; ++k) sum = sum * many[299 - k] + many[k];
y = sum;
"""


FRAME = """\
T some[64] = {};
some[int(gy) & 63] = gy;
some[int(seen) & 63] += gy;
gx = some[int(seen * gy) & 63];
"""
SPLIT = """\
const float2 pair = make_float2(x, x);
bad[0] = int(pair.x * pair.y);
"""


@pytest.fixture(scope="module")
def mutants(copy: Path) -> tuple[int, str, dict[str, Any]]:
    change(copy, "nn/bias_act", "const T a = ", "const T a = INFINITY * ")
    change(copy, "nn/gather", "y[i], scale)", "y[i], T(scale * 0.1))")
    body(copy, "nn/activate", SPILLING)
    change(copy, "nn/bias_act_backward", "sum += dz;", "sum += dz * 0.1;")
    body(copy, "nn/activate_backward", FRAME)
    body(copy, "nn/finite", SPLIT)
    names = (
        "bias_act",
        "gather",
        "activate",
        "bias_act_backward",
        "activate_backward",
        "finite",
    )
    return in_own_process(*(f"nn/{name}" for name in names), gpunet=copy / "gpunet")


def problems(mutants: tuple[int, str, dict[str, Any]], word: str) -> str:
    status, output, report = mutants
    need("NVRTC", report["missing"])
    assert status == compile_gate.FAILED, output
    return "\n".join(problem for problem in report["problems"] if word in problem)


def test_an_unknown_name_is_shown_with_file_and_line(mutants: Any) -> None:
    assert 'kernels/nn/bias_act.cu:24: error: identifier "INFINITY" is undefined' in problems(
        mutants, "bias_act.cu float32 sm_75 does not compile"
    )


def test_an_error_in_a_reduction_is_shown_with_file_and_line() -> None:
    norm = compile_gate.kernels()["optim/norm"]
    found = compile_gate.located(norm, Measured(error="kern.cu:9: error: unknown"))
    assert found.error == "kernels/optim/norm.cu:5: kern.cu:9: error: unknown"
    assert compile_gate.located(norm, Measured(registers=9)) == Measured(registers=9)


def test_a_double_operation_on_floats_is_seen(mutants: Any) -> None:
    for arch in ARCHITECTURES:
        where = f"kernels/nn/gather.cu float32 sm_{arch} computes in double: "
        assert re.search(r"\.f64\b", problems(mutants, where))
    assert problems(mutants, "gather.cu float64 sm") == ""


def test_a_double_operation_in_a_block_kernel_is_seen(mutants: Any) -> None:
    where = "kernels/nn/bias_act_backward.cu float32 sm_90 computes in double: "
    assert re.search(r"\.f64\b", problems(mutants, where))
    if "g++" not in mutants[2]["missing"]:
        found = problems(mutants, "bias_act_backward.cu float32, g++")
        assert "kernels/nn/bias_act_backward.cu:30:" in found
        assert "[-Werror=double-promotion]" in found


def test_a_spill_is_seen(mutants: Any) -> None:
    found = problems(mutants, "nn/activate.cu float64 sm_90")
    assert re.search(r"spills registers: \d+ bytes", found)


def test_a_stack_frame_is_seen(mutants: Any) -> None:
    found = problems(mutants, "nn/activate_backward.cu float32 sm_90")
    assert re.search(r"has a stack frame: \d+ bytes", found)


def test_vectors_that_are_loaded_one_by_one_are_seen(mutants: Any) -> None:
    found = problems(mutants, "nn/finite.cu float32 sm_90")
    assert re.search(r"names vectors, but loads 32 bits of an array: ld\.global\S*\.f32 ", found)
    assert problems(mutants, "nn/finite.cu float64 sm_90") == ""


def test_gxx_refuses_a_double_literal_with_file_and_line(mutants: Any) -> None:
    if "g++" in mutants[2]["missing"]:
        pytest.skip(mutants[2]["missing"]["g++"])
    found = "\n".join(p for p in mutants[2]["problems"] if "gather.cu float32, g++" in p)
    assert "kernels/nn/gather.cu:15:" in found
    assert "[-Werror=double-promotion]" in found


def test_a_file_that_nothing_reads_is_named() -> None:
    assert compile_gate.unused([n for n in kernel_names() if n != "nn/gather"]) == [
        "kernels/nn/gather.cu: no Kernel reads it"
    ]


def test_a_kernel_that_does_not_exist_is_refused() -> None:
    assert compile_gate.main(["optim/adma"]) == compile_gate.UNKNOWN


# Parts


def test_gxx_has_no_warning_about_our_own_lines() -> None:
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(reason)
    found = compile_gate.warnings({"optim/rmsprop": gn.RMSProp.kernel})  # `momentum` is unused
    assert found == []


def test_what_ptxas_says_is_read() -> None:
    plain = Measured(registers=40, shared=152)
    assert nvrtc.measured(LOG.format(frame=0, stores=0, loads=0), "") == plain
    assert nvrtc.measured(LOG.format(frame=0, stores=8, loads=12), "").spills == 20
    assert nvrtc.measured(LOG.format(frame=32, stores=0, loads=0), "").frame == 32
    with pytest.raises(ValueError, match="no registers"):
        nvrtc.measured("ptxas info: something else", "")


@pytest.mark.parametrize(
    ("instructions", "stores", "each"),
    [(274, {"32": 3}, 274), (253, {"128": 3}, 63.25), (90, {}, None)],
)
def test_instructions_for_each_element(
    instructions: int, stores: dict[str, int], each: Any
) -> None:
    code = Measured(instructions=instructions, stores=stores)
    bits = compile_gate.element_bits(gn.Adam.kernel, frozenset(), "float32")
    assert bits == 96
    build = Build("optim/adam", "", "", "float32", "90", code, False, bits, vectors=True)
    assert build.per_element == each


def test_numbers_among_the_inputs_come_from_the_header() -> None:
    assert compile_gate.numbers(functional.DROPOUT) == {
        "scale", "seed", "step", "threshold", "plane"
    }  # fmt: skip
    assert compile_gate.numbers(resident.NOTE_LOSS) == set()
    # The place of its row, and where it is that of several models.
    assert compile_gate.numbers(gn.Adam.kernel) == {"at", "models_", "own_", "rest_"}


def test_only_a_header_with_a_float64_array_may_compute_in_double() -> None:
    known = compile_gate.kernels()
    found = {name for name, k in known.items() if compile_gate.may_double(k)}
    assert found == {"nn/note_loss", "nn/score", "nn/softmax_loss", "optim/norm"}


def test_results_are_kept_and_a_broken_record_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pool:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None: ...
        def map(self, function: Any, jobs: Any) -> Any:
            compiled.extend(jobs)
            return [Measured(registers=len(compiled)) for _ in jobs]

    compiled: list[Any] = []
    monkeypatch.setattr(compile_gate, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(nvrtc, "versions", lambda: "1")
    monkeypatch.setattr(compile_gate, "ProcessPoolExecutor", Pool)
    job = (Program("", "text", ("-O",)), "90")
    first = compile_gate.remembered([job])
    assert compile_gate.remembered([job]) == first
    assert len(compiled) == 1
    compile_gate._file(job).write_text("{")
    assert compile_gate.remembered([job])[job].registers == 2
    other = (Program("", "text", ("-O", "-g")), "90")
    assert compile_gate._file(other) != compile_gate._file(job)


def test_the_options_are_cupys_own(gate: Any) -> None:
    need("NVRTC", gate[2]["missing"])
    code = "from cupy.cuda import compiler; import inspect; print(inspect.getsource(compiler))"
    source = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    for option in nvrtc.ALWAYS:
        assert f"'{option}'" in source


def test_the_simulated_gpus_nvrtc_is_not_taken_for_nvidias(sim: Any) -> None:
    with pytest.raises(RuntimeError, match="process of its own"):
        nvrtc.compile_program(Program("", "text", ()), "90")


def test_without_cupy_the_reason_is_given(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy, tmp_path / "copy")
    fake = tmp_path / "copy" / "cupy"
    fake.mkdir()
    (fake / "__init__.py").write_text("raise ImportError('broken on purpose')")
    status, output, report = in_own_process("nn/tick", gpunet=tmp_path / "copy" / "gpunet")
    assert "broken on purpose" in report["missing"]["NVRTC"]
    assert status == MISSING, output


@pytest.mark.parametrize(
    ("value", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_a_skip_fails_where_nvrtc_is_required(
    value: str, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNET_REQUIRE_NVRTC", value)
    with pytest.raises(outcome, match="no NVRTC: because"):
        need("NVRTC", {"NVRTC": "because"})


def test_a_function_that_does_not_reach_the_compiler_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Compiler:
        def _compile_module_with_cache(self) -> None: ...

    compiler = Compiler()
    monkeypatch.setattr(nvrtc, "_cupy", lambda name: compiler)
    monkeypatch.setattr(nvrtc, "versions", lambda: "CuPy 99")

    def function() -> None: ...

    function.__wrapped__ = function  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match=r"CuPy 99: .* another way"):
        nvrtc._caught(function)
    assert inspect.ismethod(compiler._compile_module_with_cache)


def test_gxx_finds_the_header_lines_of_a_reduction() -> None:
    source = compile_gate.kernels()["optim/norm"].source
    line = source.path.read_text().splitlines()[gxx.header_line(source, "map") - 1]
    assert line.startswith("// map:")
