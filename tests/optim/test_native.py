"""gpunet.optim.native: the CUDA text as a loop on the CPU against the NumPy reference, in parts, in
threads; and what it leaves to NumPy.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import cxx, threads
from gpunet.optim import native
from gpunet.optim.kernel import Arrays, UpdateKernel
from tests.optim.cases import BEFORE, FORMULAS, REPRESENTATIVES, name_of

STEPS, SIZE = 20, 203
PART = 50  # SIZE is cut into as many parts as there are cores, below
CORES = 3
Switch = Callable[[bool], None]


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    """switch(True): loops from here on; switch(False): NumPy."""
    usable, reason = cxx.available()
    if not usable:
        pytest.skip(f"no native kernels: {reason}")
    monkeypatch.setattr(threads, "cores", lambda: CORES)
    monkeypatch.setattr(native, "PART", PART)
    return lambda on: monkeypatch.setattr(native, "choice", lambda: "native" if on else "numpy")


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one for each update that a loop made."""
    found: list[Any] = []
    call = native.Bound.__call__

    def counted(self: Any, *arguments: Any) -> None:
        found.append(self)
        call(self, *arguments)

    monkeypatch.setattr(native.Bound, "__call__", counted)
    return found


def updated(optimizer: Any, dtype: Any, *powers: int) -> dict[str, Any]:
    """Parameter and state after STEPS updates from gradients with zeros, each times 10 to the power
    of one of `powers`.
    """
    draw = np.random.default_rng(5)
    params = {"w": draw.standard_normal((7, SIZE // 7)).astype(dtype)}
    for _ in range(STEPS):
        grad = draw.standard_normal(params["w"].shape) * (draw.random(params["w"].shape) > 0.2)
        if powers:
            grad *= 10.0 ** draw.choice(powers, grad.shape)
        optimizer.update(params, {"w": grad.astype(dtype)})
    return optimizer.by_key.state["w"] | params


def both(switch: Switch, make: Callable[[], Any], *more: Any) -> list[dict[str, Any]]:
    found = []
    for on in (False, True):
        switch(on)
        found.append(updated(make(), *more))
    return found


def compare(numpys: dict[str, Any], loops: dict[str, Any]) -> None:
    """Equal, not a bit may differ; nan equals nan."""
    assert numpys.keys() == loops.keys()
    for slot in numpys:
        np.testing.assert_array_equal(numpys[slot], loops[slot])


@pytest.mark.parametrize("case", FORMULAS + BEFORE, ids=name_of)
def test_every_update(case: Any, switch: Switch, loops: Any) -> None:
    compare(*both(switch, lambda: gn.OPTIMIZERS[case[0]](**case[1]), np.float32))
    assert len(loops) == STEPS


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_in_double(name: str, switch: Switch) -> None:
    compare(*both(switch, gn.OPTIMIZERS[name], np.float64))


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_at_extreme_gradients(name: str, switch: Switch) -> None:
    """Whose squares overflow or vanish."""
    compare(*both(switch, gn.OPTIMIZERS[name], np.float32, -25, 0, 25))


@pytest.mark.parametrize("case", FORMULAS + BEFORE, ids=name_of)
def test_at_subnormal_numbers(case: Any, switch: Switch) -> None:
    """As gradients, and as squares, products with a rate, sums of them."""
    make = partial(gn.OPTIMIZERS[case[0]], **case[1])
    compare(*both(switch, make, np.float32, -43, -39, -37, -20, 0))
    if case[0] == "adam":
        compare(*both(switch, make, np.float64, -322, -309, -306, -160, 0))


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_a_nan_stays_where_it_is(name: str, switch: Switch) -> None:
    switch(True)
    params = {"w": np.ones(SIZE, np.float32)}
    grad = np.ones(SIZE, np.float32)
    grad[[0, 77, SIZE - 1]] = np.nan
    gn.OPTIMIZERS[name]().update(params, {"w": grad})
    assert np.flatnonzero(np.isnan(params["w"])).tolist() == [0, 77, SIZE - 1]


def test_the_comparison_sees_a_wrong_reference(switch: Switch) -> None:
    def reference(grad: Any, lr: Any, param: Any) -> None:
        param -= lr * grad * (1 + 3 * np.finfo(grad.dtype).eps)

    class Wrong(gn.SGD):
        kernel = UpdateKernel("optim/sgd", reference)

    with pytest.raises(AssertionError, match="not equal"):
        compare(*both(switch, lambda: Wrong(lr=0.1), np.float32))


def trained() -> bytes:
    """The weights of a small network after some steps with groups, clipping and a schedule."""
    draw = np.random.default_rng(3)
    gn.seed(3)
    model = gn.MLP([8, 16, 3])
    loss_fn = gn.SoftmaxWithLoss()
    lr = gn.schedules.cosine(1e-2, 30)
    optimizer = gn.Adam(model.parameters(), lr, weight_decay=0.01, clip_norm=1.0)
    for _ in range(30):
        x, t = draw.standard_normal((10, 8)).astype(np.float32), draw.integers(0, 3, 10)
        optimizer.zero_grad()
        loss_fn(model(x), t).backward()
        optimizer.step()
    return b"".join(p.data.tobytes() for p in model.parameters())


def test_a_training(switch: Switch, loops: list[Any]) -> None:
    switch(False)
    expected = trained()
    assert loops == []
    switch(True)
    assert trained() == expected
    assert len(loops) == 60  # two parts: decayed and not


def plain(a: Any) -> Any:
    return a


def strided(a: Any) -> Any:
    return np.repeat(a, 2)[::2]


def read_only(a: Any) -> Any:
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("param", "grad"),
    [(strided, plain), (plain, strided), (plain, read_only)],
    ids=lambda f: f.__name__,
)
def test_other_arrays_are_left_to_numpy(
    param: Any, grad: Any, switch: Switch, loops: list[Any]
) -> None:
    draw = np.random.default_rng(1)
    start, slope = (draw.standard_normal(SIZE).astype(np.float32) for _ in range(2))
    for on in (False, True):
        switch(on)
        params = {"w": param(start.copy())}
        gn.SGD(lr=0.5).update(params, {"w": grad(slope.copy())})
        assert np.array_equal(params["w"], start - np.float32(0.5) * slope)
    assert loops == []


def test_an_empty_array_and_one_number(switch: Switch, loops: list[Any]) -> None:
    switch(True)
    params = {"none": np.zeros((0, 3), np.float32), "one": np.array(1.0, np.float32)}
    gn.SGD(lr=0.5).update(params, {k: np.ones_like(p) for k, p in params.items()})
    assert params["one"] == 0.5
    assert len(loops) == 2


@pytest.mark.parametrize("choice", ["", "numpy", "native"])
def test_the_choice(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.VARIABLE, choice)
    assert native.choice.__wrapped__() == choice


# By default


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As where GPUNET_CPU_KERNELS is not set, with no kernel made yet; a call of it lets them be
    made, and waits for them.
    """
    usable, reason = cxx.available()
    if not usable:
        pytest.skip(f"no native kernels: {reason}")
    made, gate = list[native.Later](), threading.Event()

    class Noted(native.Later):
        def __init__(self, make: Any) -> None:
            made.append(self)
            super().__init__(make)

        def _run(self, make: Any) -> None:
            gate.wait(60)
            super()._run(make)

    monkeypatch.setattr(native, "Later", Noted)
    monkeypatch.setattr(native, "choice", lambda: "")
    for kind in gn.OPTIMIZERS.values():
        monkeypatch.setattr(kind.kernel, "_built", {})

    def wait() -> None:
        gate.set()
        for one in made:
            one.wait()

    return wait


@pytest.mark.parametrize("name", gn.OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loop_takes_over_and_nobody_sees_it(
    name: str, dtype: Any, background: Any, loops: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(1)
    start = draw.normal(size=native.LEAST + 3).astype(dtype)
    gradients = draw.normal(size=(6, start.size)).astype(dtype)

    def trained(after: Callable[[int], None]) -> list[bytes]:
        p = gn.Parameter(start)
        one = gn.OPTIMIZERS[name]([p], weight_decay=0.01, clip_norm=100.0)
        for k, gradient in enumerate(gradients):
            p.grad = gradient
            one.step()
            after(k)
        return [array.tobytes() for array in one.buffers()]

    found = trained(lambda k: background() if k == 2 else None)
    assert len(loops) == 3
    monkeypatch.setattr(native, "choice", lambda: "numpy")
    assert trained(lambda k: None) == found
    assert len(loops) == 3


def test_small_arrays_and_kernels_of_one_s_own_stay_numpy_s(
    background: Any, loops: list[Any], tmp_path: Path
) -> None:
    small = {"w": np.ones(native.LEAST - 1, np.float32)}
    gn.SGD(lr=0.5).update(small, {"w": np.ones_like(small["w"])})
    file = tmp_path / "mine.cu"
    file.write_text("// in: T grad\n// scalars: lr\n// out: T param\nparam -= lr * exp(grad);\n")
    kernel = UpdateKernel(file, lambda grad, lr, param: np.subtract(param, lr, out=param))
    many = np.ones(native.LEAST)
    for _ in range(2):
        kernel.update(Arrays(many, {"param": many.copy()}), (np.inf, np.inf, 0.0, 0.1))
        background()
    assert loops == []


def test_small_arrays_that_are_updated_often_get_a_loop(
    background: Any, loops: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained() -> bytes:
        p = gn.Parameter(np.ones(5, np.float32))
        adam = gn.Adam([p])
        for k in range(native.OFTEN + 10):
            p.grad = np.full(5, np.sin(k), np.float32)
            adam.step()
            if k == native.OFTEN:
                background()
        return p.data.tobytes()

    found = trained()
    assert len(loops) == 9
    monkeypatch.setattr(native, "choice", lambda: "numpy")
    assert trained() == found
    assert len(loops) == 9


def test_a_benchmark_waits_for_the_loop(background: Any, loops: list[Any]) -> None:
    threading.Timer(0.2, background).start()
    arrays = Arrays(np.ones(5), {"param": np.ones(5)})
    gn.SGD.kernel.settle(arrays)
    gn.SGD.kernel.update(arrays, (np.inf, np.inf, 0.0, 0.25))
    assert (arrays.state["param"] == 0.75).all()
    assert len(loops) == 1


def test_without_a_compiler_nothing_is_said(
    background: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    params = {"w": np.ones(native.LEAST, np.float32)}
    for _ in range(2):
        gn.SGD(lr=0.5).update(params, {"w": np.ones_like(params["w"])})
        background()
    assert (params["w"] == 0).all()
    assert capfd.readouterr() == ("", "")


def test_a_short_process_leaves_the_library_to_the_next(tmp_path: Path) -> None:
    if not cxx.available()[0]:
        pytest.skip(cxx.available()[1])
    program = "import numpy as np, gpunet as gn\np = gn.Parameter(np.ones(20_000, 'f'))\n"
    program += "o = gn.Lion([p])\np.grad = np.ones(20_000, 'f')\no.step()\n"
    environment = {k: v for k, v in os.environ.items() if k != native.VARIABLE}
    environment |= {cxx.CACHE: str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [f.name for f in (tmp_path / "cxx").glob("*.so")]


def test_another_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.VARIABLE, "fast")
    with pytest.raises(ValueError, match=r"GPUNET_CPU_KERNELS is 'fast'.*`numpy` or `native`"):
        native.choice.__wrapped__()


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "choice", lambda: "native")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gn.SGD, "kernel", UpdateKernel("optim/sgd", gn.SGD.kernel.reference))
    params = {"w": np.ones(3, np.float32)}
    with pytest.raises(RuntimeError, match=r"GPUNET_CPU_KERNELS=native needs .* g\+\+.*install"):
        gn.SGD(lr=0.5).update(params, {"w": np.ones(3, np.float32)})
    assert params["w"].tolist() == [1, 1, 1]


def test_a_text_that_does_not_compile(tmp_path: Path, switch: Switch) -> None:
    switch(True)
    file = tmp_path / "mine.cu"
    file.write_text("// in: T grad\n// scalars: lr\n// out: T param\nparam -= lr * gradd;\n")

    kernel = UpdateKernel(file, lambda grad, lr, param: None)
    one = np.ones(1)
    with pytest.raises(cxx.CompileError, match=r"mine\.cu:4.*'gradd'"):
        kernel.update(Arrays(one, {"param": one.copy()}), (np.inf, np.inf, 0.0, 0.1))


def test_a_library_is_for_one_kind_of_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    text = gn.SGD.kernel.text()
    here = native.program(text, np.dtype("f4"), 4)
    monkeypatch.setattr(native, "processor", lambda: "flags: none")
    assert native.program(text, np.dtype("f4"), 4) != here


FORK = """
import os, signal, sys, time
import numpy as np
import gpunet as gn
from gpunet import threads
from gpunet.optim import native

native.PART, threads.cores = 50, lambda: 2

def update():
    params = {"w": np.ones(200, np.float32)}
    gn.SGD(lr=0.5).update(params, {"w": np.ones(200, np.float32)})
    return bool((params["w"] == 0.5).all())

assert update() and threads._pool.cache_info().currsize == 1, "no thread was used"
time.sleep(0.2)  # until the thread waits for more
child = os.fork()
if child == 0:
    signal.alarm(60)  # seconds, and it is killed
    os._exit(0 if update() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_variable_and_a_fork_in_a_process_of_its_own(switch: Switch) -> None:
    """Threads that were used before a fork are not there after it."""
    environment = {
        **os.environ,
        native.VARIABLE: "native",
        "PYTHONPATH": str(Path(gn.__file__).parents[1]),
    }
    subprocess.run([sys.executable, "-c", FORK], check=True, env=environment, timeout=120)
