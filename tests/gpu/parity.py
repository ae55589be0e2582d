"""The GPU parity list: every kernel against its NumPy reference, in units in the last place.

    python tests/gpu/parity.py            each kernel once on the GPU
    python tests/gpu/parity.py --few      a few of each kind once: what compute-sanitizer runs
    python tests/gpu/parity.py --sim      on the simulated GPU

The truth is the NumPy reference in a wider type (float64 for float32, long double for float64), so
that NumPy's own float32 and float64 are held to the same bounds. An error is counted in ulps of the
exact result, or where a formula cancels (1 - y * y near y = 1, param - update) of its larger
operand, the `scale`.

Why a bound is what it is. A sum, product, quotient or square root is off by half an ulp at most, on
a GPU too (NVRTC's default, which CuPy keeps). nvcc may round a * b + c once where NumPy rounds
twice, so a bound counts every rounding of the formula and holds either way; an ulp of one operand
is up to two of the next. exp and tanh are off by 2 ulps at most on a GPU (CUDA C++ Programming
Guide, "Mathematical Functions"), by 3 in NumPy's float32. CuPy compiles with -ftz=true: what is
below the smallest normal float32 may be 0.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

import gpunet as gn
from gpunet import embedding, functional
from gpunet.activations import ACTIVATE, ACTIVATE_BACKWARD, NUMBERS, TABLE
from gpunet.backend import to_host
from gpunet.counters import TICK
from gpunet.fused import on_cupy, on_numpy
from gpunet.fused.after import NO_DROP, After, Drop
from gpunet.fused.resident import GATHER, NOTE_LOSS, gather
from gpunet.kernel import Kernel
from gpunet.optim import kernel as updates
from gpunet.optim.kernel import Arrays, UpdateKernel
from gpunet.optim.parts import start
from gpunet.optim.rows import Rows
from gpunet.optim.scalars import row
from gpunet.train.finite import FINITE

Array = Any
Draw = Callable[[], Array]  # standard normal numbers of the test's shape and dtype
Layout = Callable[[Any, Array], Array]  # (xp, host array) -> the same numbers on the device
DTYPES = ("float32", "float64")
WIDER = {"float32": np.float64, "float64": np.longdouble}
FEW = ("sgd", "adam", "rmsprop")  # optimizers: without state, with scalars of t, with options
STEPS = 7  # RAdam's rectification begins at the sixth


def ulps(result: Array, truth: Array, scale: Array | None = None) -> float:
    """The largest error of `result`, in ulps at `scale` (default: the truth itself).

    Raises:
        ValueError: another shape, or a nan or an infinity in one of the two only.
    """
    if result.shape != truth.shape:
        raise ValueError(f"shape {result.shape}, expected {truth.shape}")
    exact = np.asarray(truth, WIDER[result.dtype.name])
    finite = np.isfinite(exact) & np.isfinite(result)
    if not np.array_equal(result[~finite], exact[~finite], equal_nan=True):
        raise ValueError("a nan or an infinity in one of the two only")
    tiny = np.finfo(result.dtype).tiny
    size = np.maximum(np.abs(exact if scale is None else scale), tiny)
    unit = np.spacing(np.where(finite, size, 1).astype(result.dtype))
    error = np.abs(np.where(finite, result, 0) - np.where(finite, exact, 0))
    flushed = (np.abs(exact) < tiny) & (result == 0)
    return float(np.max(np.where(flushed, 0, error / unit), initial=0))


# How the numbers lie in memory


def contiguous(xp: Any, a: Array) -> Array:
    return xp.array(a)  # a copy, on the CPU too: updates work in place


def strided(xp: Any, a: Array) -> Array:
    """In Fortran order, of the last axis every second element, backwards."""
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::-2] = a
    return xp.asarray(np.ascontiguousarray(wide.T)).T[..., ::-2]


# Kernels that are called


@dataclass(frozen=True)
class Case:
    """A kernel called with `inputs(draw)`; its error must not exceed `bound` ulps.

    truth: in place of the reference in a wider type. scale: what the ulps are counted at. call: in
    place of a call of the kernel, for one that needs a grid.
    """

    kernel: Kernel
    inputs: Callable[[Draw], tuple[Any, ...]]
    bound: float
    scale: Callable[..., Array] | None = None
    truth: Callable[..., Array] | None = None
    call: Callable[..., Array] | None = None

    @property
    def name(self) -> str:
        return self.kernel.source.name

    def error(self, xp: Any, dtype: str, shape: tuple[int, ...], layout: Layout) -> float:
        """The largest error of one call, in ulps."""
        generator = np.random.default_rng(0)
        host = self.inputs(lambda: generator.standard_normal(shape).astype(dtype))
        wide = [a.astype(WIDER[dtype]) if getattr(a, "dtype", None) == dtype else a for a in host]
        shaped = [isinstance(a, np.ndarray) and a.shape == host[0].shape for a in host]
        placed = [
            layout(xp, a) if s else xp.array(a) if isinstance(a, np.ndarray) else a
            for a, s in zip(host, shaped, strict=True)
        ]
        truth = (self.truth or self.kernel.reference)(*wide)
        result = to_host((self.call or self.kernel)(*placed))
        return ulps(result, truth, self.scale(*wide) if self.scale else None)


def dropout_inputs(draw: Draw) -> tuple[Any, ...]:
    """A quarter is dropped. The scale is a number that its rounding to the dtype leaves alone."""
    x = draw()
    plane = max(int(np.prod(x.shape[-2:])), 1)
    counters = np.array([0, 5, 0, 0, 0, 6, 0, 0])
    return x, counters, float(x.dtype.type(4 / 3)), 2**63 + 7, 2**40 + 1, 2**14, plane


@dataclass(frozen=True)
class Bounds:
    """Of an activation for x of `spread`, in ulps: of y and of the gradient.

    at_x, at_gy: ulps are counted at |x| or |gy|, where the formula cancels.
    """

    spread: float
    value: float
    gradient: float
    alpha: float = 0.0
    at_x: bool = False
    at_gy: bool = True


# exp, tanh, erfc, expm1 and log1p are off by 2 to 5 ulps, and each operation behind adds a half.
ACTIVATIONS = {
    "relu": Bounds(1, 0, 0, at_gy=False),
    "sigmoid": Bounds(20, 6, 3, at_gy=False),
    "tanh": Bounds(3, 4, 2),
    "leaky_relu": Bounds(1, 1, 1, 0.3, at_gy=False),
    "elu": Bounds(3, 4, 2, 0.7),
    "softplus": Bounds(10, 6, 6),
    "silu": Bounds(10, 8, 8, at_x=True),
    "gelu": Bounds(3, 8, 12, at_x=True),
    "gelu_tanh": Bounds(3, 12, 24, at_x=True),
}


def activation_cases() -> Iterator[Case]:
    """Forward, and back from what the source says, of each."""
    for name, b in ACTIVATIONS.items():
        numbers = (NUMBERS[name], float(np.float32(b.alpha)))
        formula, from_input = TABLE[name], TABLE[name].source == "input"

        def seen(x: Array, f: Any = formula, i: bool = from_input, a: float = numbers[1]) -> Array:
            return x if i else f.value(x, a)

        yield Case(
            ACTIVATE,
            lambda draw, b=b, n=numbers: (b.spread * draw(), *n),
            b.value,
            scale=(lambda x, act, alpha: np.abs(x)) if b.at_x else None,
        )
        yield Case(
            ACTIVATE_BACKWARD,
            lambda draw, b=b, n=numbers, s=seen: (draw(), s(b.spread * draw()), *n),
            b.gradient,
            scale=(lambda gy, seen, act, alpha: np.abs(gy)) if b.at_gy else None,
        )


CASES = [
    *activation_cases(),
    # One rounding; the truth has one too.
    Case(functional.DROPOUT, dropout_inputs, 0.51, call=functional.masked),
    # A million squares added by 512 threads: two thousand roundings each, up or down.
    Case(
        updates.norm_of,
        lambda draw: (draw(),),
        64,
        truth=lambda x: np.sqrt(np.square(x.astype(np.longdouble)).sum()),
    ),
]


# Fused kernels, which are launched


@dataclass(frozen=True)
class FusedCase:
    """An op of a fused step, `run(ops, arrays, work)` with the ops of on_cupy and of on_numpy on
    copies of `fused_arrays(rows, columns)`.

    outputs: the arrays to compare. An error is counted in ulps of the output's largest element and
    must not exceed `bound`.
    """

    kernel: Kernel
    run: Callable[[Any, dict[str, Array], Any], None]
    outputs: tuple[str, ...]
    bound: float

    @property
    def name(self) -> str:
        return self.kernel.source.name

    def error(self, xp: Any, dtype: str, shape: tuple[int, int]) -> float:
        """The largest error of any output of one call, in ulps."""
        host = fused_arrays(dtype, *shape)
        placed = {name: xp.array(a) for name, a in host.items()}
        wide = {
            name: a.astype(WIDER[dtype] if a.dtype == dtype else a.dtype)
            for name, a in host.items()
        }
        wide["z"] = np.asfortranarray(wide["z"])  # as on_numpy keeps logits
        for module, ops, arrays in ((xp, on_cupy, placed), (np, on_numpy, wide)):
            work = ops.Workspace(module, shape[0], [shape[1]], arrays["z"].dtype)
            work.counters = arrays["counters"]
            self.run(ops, arrays, work)
        return max(_norm_ulps(to_host(placed[k]), wide[k], dtype) for k in self.outputs)


def _norm_ulps(result: Array, truth: Array, dtype: str) -> float:
    if result.dtype.kind != "f":
        return 0.0 if np.array_equal(result, truth) else np.inf
    size = np.max(np.abs(truth[np.isfinite(truth)]), initial=0)
    return ulps(result.astype(dtype), truth, np.full(truth.shape, size))


DROP = Drop(2**14, 4 / 3, 2**63 + 7, 2**40)
ALPHA = 0.75


def fused_arrays(dtype: str, rows: int, columns: int) -> dict[str, Array]:
    """What a layer and a loss of this size need."""
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> Array:
        return generator.standard_normal(shape).astype(dtype)

    arrays = {name: draw(rows, columns) for name in ("z", "g")}
    vectors = ("b", "gamma", "beta", "mean", "running_mean", "dgamma", "dbeta", "db")
    arrays |= {name: draw(columns) for name in vectors}
    arrays |= {name: 1 + abs(draw(columns)) for name in ("inv", "running_var")}
    arrays["W"] = draw(columns, columns)
    arrays["y"] = arrays["z"] * (generator.uniform(size=(rows, columns)) > 0.25)
    return arrays | {
        "data": generator.integers(0, 256, (2 * rows, columns)).astype(np.uint8),
        "order": generator.permutation(2 * rows),
        "labels": generator.integers(0, columns, 2 * rows),
        "passed": np.array([1, 1, rows, 1]),
        "loss": np.full(1, 1.25, dtype),
        "losses": np.zeros(2),
        "holed": np.where(arrays["z"] == arrays["z"].max(), np.nan, arrays["z"]).astype(dtype),
        "bad": np.zeros(1, np.int32),
        "counters": np.array([7, 5, rows // 2, 1, 8, 6, rows // 3, 1]),
    }


def _norm_of(a: dict[str, Array]) -> Any:
    """The BatchNorm layer of these arrays."""
    gamma = SimpleNamespace(data=a["gamma"], grad=a["dgamma"])
    beta = SimpleNamespace(data=a["beta"], grad=a["dbeta"])
    running = {name: a[name] for name in ("running_mean", "running_var")}
    return SimpleNamespace(gamma=gamma, beta=beta, momentum=0.1, eps=1e-5, track=True, **running)


def _tick(ops: Any, a: dict[str, Array], work: Any) -> None:
    counters = a["counters"]
    if ops is on_cupy:
        parts = {"now": counters[:4], "next": counters[4:]}
        TICK.launch(work.cupy, passed=a["passed"], **parts)
    else:
        counters[:4] = counters[4:]
        counters[4:] += a["passed"]


def _note_loss(ops: Any, a: dict[str, Array], work: Any) -> None:
    if ops is on_cupy:
        arrays = {name: a[name] for name in ("counters", "losses")}
        NOTE_LOSS.launch(work.cupy, loss=a["loss"].reshape(()), **arrays)
    else:
        a["losses"][a["counters"][3]] = a["loss"][0]


def _finite(ops: Any, a: dict[str, Array], work: Any) -> None:
    if ops is on_cupy:
        FINITE.launch(work.cupy, x=a["holed"], size=a["holed"].size, bad=a["bad"])
    else:
        a["bad"][0] = not np.isfinite(a["holed"]).all()


def _gather(ops: Any, a: dict[str, Array], work: Any) -> None:
    data, order, y, counters = (a[name] for name in ("data", "order", "y", "counters"))
    if ops is on_cupy:
        gather(data, order, counters, y, 2**-8)
    else:
        counters[:4] = counters[4:]
        y[...] = data[order[counters[2] : counters[2] + len(y)]].astype(y.dtype) * 2**-8


Run = Callable[[Any, dict[str, Array], Any], None]


def _bias_act(act: str) -> Run:
    def run(ops: Any, a: dict[str, Array], work: Any) -> None:
        ops.bias_act(a["z"], a["b"], a["y"], After(act, DROP, ALPHA), work)

    return run


def _bias_act_backward(act: str) -> Run:
    def run(ops: Any, a: dict[str, Array], work: Any) -> None:
        after = After(act, DROP, ALPHA)
        b = a["b"] if TABLE[act].source == "input" else None
        ops.bias_act_backward(a["g"], a["y"], b, a["db"], after, True, work)

    return run


def _batch_norm(act: str) -> Run:
    def run(ops: Any, a: dict[str, Array], work: Any) -> None:
        arrays = (a[name] for name in ("z", "b", "y", "mean", "inv"))
        ops.batch_norm(_norm_of(a), *arrays, After(act, DROP, ALPHA), work)

    return run


def _batch_norm_backward(act: str) -> Run:
    def run(ops: Any, a: dict[str, Array], work: Any) -> None:
        arrays = (a[name] for name in ("g", "y", "z", "mean", "inv", "db"))
        ops.batch_norm_backward(_norm_of(a), *arrays, After(act, DROP, ALPHA), True, work)

    return run


def _embedding(ops: Any, a: dict[str, Array], work: Any) -> None:
    W, y = a["W"], a["y"]
    index = a["labels"][: len(y)]
    if ops is on_cupy:
        embedding.look_up(index, W, y)
    else:
        y[...] = W[index]


def _embedding_backward(ops: Any, a: dict[str, Array], work: Any) -> None:
    """Into W: rows that no index names stay."""
    dW, gy = a["W"], a["g"]
    index = a["labels"][: len(gy)]
    if ops is on_cupy:
        sizes = {"places": len(gy), "categories": dW.shape[0], "width": dW.shape[1]}
        launch, grid = embedding.EMBEDDING_BACKWARD.launch, (-(-gy.size // embedding.THREADS),)
        launch(work.cupy, gy.dtype, grid, index=index, gy=gy, dW=dW, **sizes)
    else:
        dW[np.unique(index)] = 0
        np.add.at(dW, index, gy)


def _softmax_loss(ops: Any, a: dict[str, Array], work: Any) -> None:
    """With an order; on_numpy gets the labels that it stands for, and the rest is done by hand."""
    z, counters, labels, losses = a["z"], a["counters"], a["labels"], a["losses"]
    rows = len(z)
    if ops is on_numpy:
        labels = labels[a["order"][counters[2] : counters[2] + rows]]
        losses = losses[counters[3] : counters[3] + 1].reshape(())
        counters[4:] = counters[:4] + np.array([1, 1, rows, 1])
    else:
        work.order = a["order"]
    ops.softmax_loss(z, a["b"], a["db"], labels, losses, 0.1, 0.5, True, work)


def _norm_act(act: str) -> Run:
    def run(ops: Any, a: dict[str, Array], work: Any) -> None:
        ops.norm_act(_norm_of(a), a["z"], a["b"], After(act, NO_DROP, ALPHA), work)

    return run


def _score(ops: Any, a: dict[str, Array], work: Any) -> None:
    z, labels = a["z"], a["labels"][: len(a["z"])]
    if ops is on_cupy or z.shape[1] > 1:
        ops.score(z, a["b"], labels, 0.1, a["losses"], work)
    else:  # the loss refuses a single class
        a["losses"][:] = 0, len(z)


# Sums of up to 1100 terms: on the device 32 threads add theirs one by one, then by halves, in NumPy
# one after another; roundings go up and down, and few add up.
SUM_BOUND = 32
NORMED = ("y", "mean", "inv", "running_mean", "running_var")
FUSED_CASES = [
    FusedCase(FINITE, _finite, ("bad",), 0),
    FusedCase(TICK, _tick, ("counters",), 0),
    FusedCase(NOTE_LOSS, _note_loss, ("losses",), 0),
    FusedCase(GATHER, _gather, ("y", "counters"), 0),
    FusedCase(embedding.EMBEDDING, _embedding, ("y",), 1),
    FusedCase(embedding.EMBEDDING_BACKWARD, _embedding_backward, ("W",), SUM_BOUND),
    *(FusedCase(on_cupy.BIAS_ACT, _bias_act(act), ("y",), 6) for act in ("sigmoid", "gelu")),
    *(
        FusedCase(on_cupy.BIAS_ACT_BACKWARD, _bias_act_backward(act), ("g", "db"), SUM_BOUND)
        for act in ("tanh", "gelu")
    ),
    *(
        FusedCase(on_cupy.BATCH_NORM, _batch_norm(act), NORMED, SUM_BOUND)
        for act in ("relu", "silu")
    ),
    *(
        FusedCase(
            on_cupy.BATCH_NORM_BACKWARD,
            _batch_norm_backward(act),
            ("g", "dgamma", "dbeta", "db"),
            SUM_BOUND,
        )
        for act in ("tanh", "elu", "gelu")
    ),
    *(FusedCase(on_cupy.NORM_ACT, _norm_act(act), ("z",), 12) for act in ("relu", "silu")),
    FusedCase(on_cupy.SCORE, _score, ("losses",), SUM_BOUND),
    FusedCase(on_cupy.SOFTMAX_LOSS, _softmax_loss, ("z", "db", "losses", "counters"), SUM_BOUND),
]


# Optimizers

UPDATE_BOUND = 12  # a dozen roundings in the longest formula, half an ulp each, doubled
CLIPS: list[dict[str, float]] = [{}, {"clip_norm": 0.0}, {"clip_value": 1.0}]
CLIPS += [CLIPS[1] | CLIPS[2]]
COMMON: list[dict[str, Any]] = [{}, {"weight_decay": 0.05}]
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "adagrad": [{"eps_inside": True, "eps": 1e-3, "initial_accumulator": 0.1}],
    "rmsprop": [
        {"eps_inside": True, "eps": 1e-3},
        {"centered": True},
        {"momentum": 0.9},
        {"centered": True, "momentum": 0.9},
    ],
    "adam": [{"eps_root": 1e-3}, {"eps_hat": True, "eps": 1e-3}, {"eps_hat": 1e-3}],
    "adabelief": [{"eps_root": 1e-3, "eps": 1e-3}],
    "cocob": [{"eps": 0.0}, {"eps_denominator": 1e-3}],
    "rprop": [{"etas": (0.3, 1.5), "step_sizes": (0.1, 0.5)}],
}


def settings_of(name: str) -> list[dict[str, Any]]:
    """Every setting to try: as it is, with weight decay, and what is the optimizer's own."""
    return [*COMMON, *SETTINGS.get(name, [])]


def optimizer_of(name: str, settings: dict[str, Any], size: int) -> gn.Optimizer:
    """With a learning rate that makes updates about as large as the parameters.

    A clip_norm of 0 stands for the square root of the size, which half the gradients exceed.
    """
    kind = gn.OPTIMIZERS[name]
    own = {"lr": 0.3} if "lr" in kind().defaults and name != "adadelta" else {}
    if "clip_norm" in settings:
        own["clip_norm"] = max(size, 1) ** 0.5
    return kind(**(own | {k: v for k, v in settings.items() if k not in own}))


def update_error(
    optimizer: gn.Optimizer,
    xp: Any,
    dtype: str,
    shape: tuple[int, ...],
    layout: Layout,
    steps: int = STEPS,
) -> float:
    """The largest error of any array in any of the first steps, in ulps.

    Each step starts from the exact state, rounded: errors do not pile up and are not carried along.
    """
    kernel, worst = optimizer.kernel, 0.0
    generator = np.random.default_rng(0)
    state = state_of(optimizer, generator.uniform(-1, 1, shape).astype(dtype))
    for t, grad in enumerate(gradients(optimizer, generator, shape, steps), 1):
        grad = grad.astype(dtype)
        norm = np.array([np.linalg.norm(grad.astype(np.float64))], dtype)
        exact = exact_update(kernel, grad, row_of(optimizer, t, np, dtype), norm, state)
        placed = {name: layout(xp, a) for name, a in state.items()}
        arrays = Arrays(layout(xp, grad), placed)
        kernel.update(arrays, row_of(optimizer, t, xp, dtype), xp.asarray(norm))
        for name, truth in exact.items():
            others = [state[name], *([state["w1"]] if "w1" in state and name == "param" else [])]
            scale = np.maximum.reduce([np.abs(a) for a in (truth, *others)])
            worst = max(worst, ulps(to_host(placed[name]), truth, scale))
        state = {name: truth.astype(dtype) for name, truth in exact.items()}
    return worst


def gradients(
    optimizer: gn.Optimizer, generator: Any, shape: tuple[int, ...], steps: int
) -> Iterator[Array]:
    """Sizes 0.5 to 1.5, every other step half as large. The sign of an element stays, so that no
    average crosses 0, where a rounding would decide a sign; RProp, which keeps none, sees it turn.
    """
    sign = generator.choice([-1.0, 1.0], shape)
    for t in range(steps):
        if isinstance(optimizer, gn.RProp):
            sign = generator.choice([-1.0, 1.0], shape)
        yield sign * generator.uniform(0.5, 1.5, shape) * (0.5 if t % 2 else 1)


def state_of(optimizer: gn.Optimizer, param: Array) -> dict[str, Array]:
    """`param`, and new state arrays for it."""
    slots = optimizer.kernel.slots(optimizer.defaults)
    state = {slot.name: param * 0 for slot in slots} | {"param": param}
    start(state, slots, optimizer.defaults)
    return state


def row_of(optimizer: gn.Optimizer, t: int, xp: Any, dtype: Any) -> Any:
    """The numbers of update t, as the kernel takes them."""
    rows = Rows(xp, dtype)
    settings = dict(optimizer.defaults)
    settings |= {"clip_norm": optimizer.clip_norm, "clip_value": optimizer.clip_value}
    kernel, derived = optimizer.kernel, optimizer.derived
    rows.fill(t, 1, (settings,), lambda t: row(t, settings, derived, kernel, rows.dtype))
    return rows[t]


def exact_update(
    kernel: UpdateKernel, grad: Array, row: Any, norm: Array, state: dict[str, Array]
) -> dict[str, Array]:
    """The reference in the wider type."""
    wider = WIDER[grad.dtype.name]
    wide = {name: a.astype(wider) for name, a in state.items()}
    kernel.by_numpy([(grad.astype(wider), wide)], tuple(np.array(row, wider)), norm.astype(wider))
    return wide


# The whole list


def names() -> list[str]:
    """The kernels compared, by the names of their files, each once."""
    called = list(dict.fromkeys(case.name for case in (*CASES, *FUSED_CASES)))
    return called + [kind.kernel.source.name for kind in gn.OPTIMIZERS.values()]


Found = tuple[str, str, float, float]  # kernel, what, error in ulps, bound


def a_few_once(xp: Any) -> Iterator[Found]:
    """What has barriers and shared memory, and three updates, in float32: each takes a sanitizer
    seconds.
    """
    for rows in (31, 1100):
        for case in FUSED_CASES:
            yield case.name, f"{rows} rows", case.error(xp, "float32", (rows, 33)), case.bound
    for name in FEW:
        optimizer = optimizer_of(name, settings_of(name)[-1] | CLIPS[3], 36)
        error = update_error(optimizer, xp, "float32", (36,), contiguous, steps=2)
        yield optimizer.kernel.source.name, "update", error, UPDATE_BOUND


def each_once(xp: Any) -> Iterator[Found]:
    """Every kernel, dtype and layout once."""
    for dtype in DTYPES:
        for rows in (31, 1100):  # one launch, two launches
            for fused_case in FUSED_CASES:
                error = fused_case.error(xp, dtype, (rows, 33))
                yield fused_case.name, f"{dtype} {rows} rows", error, fused_case.bound
        for shape, layout in (((4100,), contiguous), ((33, 31), strided)):  # in vectors; one by one
            what = f"{dtype} {layout.__name__}"
            for case in CASES:
                yield case.name, what, case.error(xp, dtype, shape, layout), case.bound
            for name in gn.OPTIMIZERS:
                for settings in settings_of(name):
                    optimizer = optimizer_of(name, settings | CLIPS[3], 33 * 31)
                    error = update_error(optimizer, xp, dtype, shape, layout, steps=2)
                    yield optimizer.kernel.source.name, what, error, UPDATE_BOUND


def main(arguments: list[str]) -> int:
    """Exit status 1 if any error exceeds its bound."""
    start = time.perf_counter()
    compared = a_few_once if "--few" in arguments else each_once
    if "--sim" in arguments:
        from gpunet.testing import simgpu

        with simgpu.activate() as cupy:
            found = list(compared(cupy))
    else:
        cupy = gn.backend.cupy()
        cupy.cuda.set_allocator(None)  # no pool: compute-sanitizer sees where each array ends
        found = list(compared(cupy))
    wrong = [(name, what, error) for name, what, error, bound in found if not error <= bound]
    for name, what, error in wrong:
        print(f"{name} {what}: {error:.1f} ulps")
    seconds = time.perf_counter() - start
    print(f"{len({f[0] for f in found})} kernels, {len(wrong)} wrong, {seconds:.2f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
