"""AddressSanitizer runs: memory errors of kernels, reported with the kernel's file and line.

A Python under AddressSanitizer takes a second to start, so one of them runs all the scripts here,
each in a process forked from it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpunet.testing import simgpu
from gpunet.testing.simgpu import asan

pytestmark = [
    pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1]),
    pytest.mark.skipif(asan.library() is None, reason="AddressSanitizer needs g++'s libasan"),
]

CUDA = Path(__file__).parent / "cuda"
MATMUL = (CUDA / "matmul.cu").read_text("utf-8")
SOFTMAX = (CUDA / "softmax_cross_entropy.cu").read_text("utf-8")

# Each case is [script, code, number]; its output goes to NUMBER.out and NUMBER.err.
RUNNER = """
import json, os, sys, traceback
import numpy as np
from gpunet.testing import simgpu
kept = simgpu.activate()
cp = kept.__enter__()
cases, folder = json.load(open(sys.argv[1])), sys.argv[2]
statuses = []
for number, (script, code, value) in enumerate(cases):
    process = os.fork()
    if process == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{folder}/{number}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
        try:
            exec(script, {"cp": cp, "np": np, "code": code, "value": value})
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
print(json.dumps(statuses))
"""
# 70 columns are no multiple of 32: without its check the kernel would go out of bounds.
RUN_TRANSPOSE = """
x = np.random.default_rng(0).normal(size=(40, 70)).astype(np.float32)
y = cp.zeros((70, 40), np.float32)
arguments = (cp.asarray(x), y, np.int32(40), np.int32(70))
cp.RawKernel(code, "transpose")((3, 2), (32, 8), arguments)
np.testing.assert_array_equal(y.get(), x.T)
print("right")
"""
RUN_SOFTMAX = """
logits = cp.asarray(np.random.default_rng(0).normal(size=(3, 50)))
arrays = [logits, cp.zeros(3, np.int32), cp.zeros((3, 50)), cp.zeros(1)]
name = "softmax_cross_entropy<double>"
kernel = cp.RawModule(code=code, name_expressions=[name]).get_function(name)
kernel((3,), (64,), (*arrays, np.int32(50)), shared_mem=value)
np.testing.assert_allclose(arrays[2].get().sum(1), 0, atol=1e-12)
print("right")
"""
KERNEL_LINE = next(line for line in RUN_SOFTMAX.split("\n") if line.startswith("kernel((3,)"))
RUN_SOFTMAX_THRICE = RUN_SOFTMAX.replace(
    KERNEL_LINE,
    f"for _ in range(3):\n    try: {KERNEL_LINE}\n    except RuntimeError as e: print(e)",
)
# Five numbers are 20 bytes, which no allocator would give as such.
RUN_ELEMENTWISE = """
x, y = cp.arange(5, dtype=np.float32), cp.zeros(5, np.float32)
assert y.data.ptr % 512 == 0
cp.ElementwiseKernel("raw T x, int32 to", "raw T y", code, "neighbour")(x, value, y, size=5)
assert sorted(y.get().tolist()) == [0, 1, 2, 3, 4]
print("right")
"""
RUN_REDUCTION = """
total = cp.ReductionKernel("T x, raw T w, int32 n", "T y", code, "a + b", "y = a", "0", "total")
assert total(cp.ones(5), cp.ones(5), value).item() == 5
print("right")
"""
RUN_REPLAY = """
pool, stream = cp.cuda.MemoryPool(), cp.cuda.Stream(non_blocking=True)
kernel = cp.ElementwiseKernel("T x", "T y", code, "shift")
x, y = cp.zeros(5), cp.zeros(5)
with stream, cp.cuda.using_allocator(pool.malloc):
    stream.begin_capture()
    kernel(kernel(x), y)
    graph = stream.end_capture()
for _ in range(2):
    graph.launch()
    assert y.get().tolist() == [2] * 5
with simgpu_count() as counters, stream, cp.cuda.using_allocator(pool.malloc):
    cp.zeros(5)
assert counters.pool_misses == 0
print("right")
""".replace("simgpu_count", "__import__('gpunet.testing.simgpu').testing.simgpu.count")
# Lines 2 and 3 of the text, as a kernel's file has them.
TURN = '#line 1 "kernels/turn.cu"\nint to_ = to;\nT value = x[{read}];\ny[{write}] = value;'


@dataclass
class Result:
    status: int
    out: str
    err: str


def unchecked(text: str) -> str:
    """The matmul file without the bounds check in the line with `text`."""
    line = next(line for line in MATMUL.split("\n") if text in line)
    check = "if (row < rows && column < columns) "
    assert check in line
    return MATMUL.replace(line, line.replace(check, ""))


def line_of(code: str, text: str) -> int:
    found = [n for n, line in enumerate(code.split("\n"), start=1) if text in line]
    assert len(found) == 1, found
    return found[0]


ASSERTING = SOFTMAX.replace("__syncthreads();  // values written", "assert(threadIdx.x != 40);")
SMALL_TILE = MATMUL.replace("float tile[32][33]", "float tile[31][33]")
CASES: dict[str, tuple[str, str, int]] = {
    "right": (RUN_TRANSPOSE, MATMUL, 0),
    "right with dynamic shared memory": (RUN_SOFTMAX, SOFTMAX, 64 * 8),
    "right elementwise": (RUN_ELEMENTWISE, TURN.format(read="4 - i", write="i"), 0),
    "right reduction": (RUN_REDUCTION, "x * w[(_J + n) % 5]", 4),
    "right replay": (RUN_REPLAY, "y = x + 1", 0),
    "raw read": (RUN_TRANSPOSE, unchecked("tile[i][threadIdx.x] = x["), 0),
    "raw write": (RUN_TRANSPOSE, unchecked("y[column * rows + row] ="), 0),
    "shared variable": (RUN_TRANSPOSE, SMALL_TILE, 0),
    "dynamic shared memory": (RUN_SOFTMAX, SOFTMAX, 63 * 8),
    "elementwise read": (RUN_ELEMENTWISE, TURN.format(read="i + to_", write="i"), 1),
    "elementwise write": (RUN_ELEMENTWISE, TURN.format(read="i", write="i + to_"), 1),
    "elementwise read before": (RUN_ELEMENTWISE, TURN.format(read="i - to_", write="i"), 1),
    "reduction": (RUN_REDUCTION, "x * w[_J + n]", 1),
    "assertion": (RUN_SOFTMAX_THRICE, ASSERTING, 64 * 8),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("asan")
    file = folder / "cases.json"
    file.write_text(json.dumps(list(CASES.values())))
    done = asan.run(["-c", RUNNER, str(file), str(folder)])
    assert done.returncode == 0, done.stderr
    return {
        name: Result(
            status, *[(folder / f"{number}.{part}").read_text("utf-8") for part in ("out", "err")]
        )
        for number, (name, status) in enumerate(zip(CASES, json.loads(done.stdout), strict=True))
    }


@pytest.mark.parametrize("case", [name for name in CASES if name.startswith("right")])
def test_a_right_kernel_passes(results: dict[str, Result], case: str) -> None:
    result = results[case]
    assert (result.status, result.out) == (0, "right\n"), result.err


@pytest.mark.parametrize(
    ("case", "access", "place"),
    [
        (
            "raw read",
            "READ of size 4",
            f"matmul.cu:{line_of(MATMUL, 'tile[i][threadIdx.x] = x[')}",
        ),
        (
            "raw write",
            "WRITE of size 4",
            f"matmul.cu:{line_of(MATMUL, 'y[column * rows + row] =')}",
        ),
        (
            "shared variable",
            "WRITE of size 4",
            f"matmul.cu:{line_of(SMALL_TILE, 'tile[i][threadIdx.x] =')}",
        ),
        (
            "dynamic shared memory",
            "WRITE of size 8",
            f"softmax_cross_entropy.cu:{line_of(SOFTMAX, 'buffer[threadIdx.x] = value;')}",
        ),
        ("elementwise read", "READ of size 4", "turn.cu:2"),
        ("elementwise write", "WRITE of size 4", "turn.cu:3"),
        ("elementwise read before", "READ of size 4", "turn.cu:2"),
        ("reduction", "READ of size 8", "total.cu:"),
    ],
)
def test_an_access_out_of_bounds(
    results: dict[str, Result], case: str, access: str, place: str
) -> None:
    """The report names the access, and the topmost frame in the kernel's text is `place`."""
    result = results[case]
    assert result.status == asan.EXIT_STATUS, result.err
    assert "right" not in result.out
    assert re.search(
        r"ERROR: AddressSanitizer: (heap-buffer-overflow|use-after-poison)", result.err
    ), result.err
    assert access in result.err
    frame = re.search(r"^\s+#\d+ .*/(\S+\.cu:\d+)", result.err, re.M)
    assert frame is not None, result.err
    assert place in frame[1], (place, frame[0])


def test_errors_found_by_the_emulator_are_still_errors(results: dict[str, Result]) -> None:
    result = results["assertion"]
    assert result.out.count("thread (40, 0, 0): assertion failed") == 3, result
    assert "AddressSanitizer" not in result.err
    assert result.status == 0


def test_the_command_line(tmp_path: Path) -> None:
    def tail(*arguments: str) -> list[str]:
        return asan.command_line(arguments)[1:]

    assert tail("script.py", "-x") == ["script.py", "-x"]
    assert tail("-m", "gpunet") == ["-m", "gpunet"]
    pytest_command = ["-m", "pytest", "--capture=sys"]
    assert tail("tests/test_a.py", "-k", "b") == [*pytest_command, "tests/test_a.py", "-k", "b"]
    assert tail("-m", "pytest", "tests") == tail("tests") == [*pytest_command, "tests"]
    assert tail("your_test.py") == [*pytest_command, "your_test.py"]
    environment = asan.environment()
    assert "libasan" in environment["LD_PRELOAD"]
    assert environment["GPUNET_SIM_ASAN"] == "1"
