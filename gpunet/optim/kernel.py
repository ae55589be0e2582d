"""An optimizer's kernel: what stands around a formula on a GPU, on NumPy, compiled for the CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np

from gpunet import counters, subnormals
from gpunet.backend import Array, array_module
from gpunet.kernel import VECTOR, CudaText, Kernel, together
from gpunet.optim import native
from gpunet.optim.rows import ROWS, Row
from gpunet.source import Argument, expand, kernel_dir

NO_LIMITS = (math.inf, math.inf)
BLOCK = 32768  # elements: gradient, parameter, two states and a temporary stay in a core's L2
LIMITS = ("clip_norm", "clip_value")  # the first two entries of every row
VECTORS, MODELS = "vectors", "models"  # compile-time options of every optimizer's kernel
THREADS = 256  # of a block that takes vectors

State = dict[str, Array]
Block = tuple[Array, State]


class Arrays:
    """What one launch updates: a gradient, and `state`: param and the state arrays by name, all of
    one shape and dtype.

    loop: what updates them on the CPU in NumPy's place. updates: made by NumPy until then.
    """

    def __init__(self, grad: Array, state: State) -> None:
        self.xp: Any = array_module(grad)
        self.grad = grad
        self.state = state
        self.size, self.dtype = grad.size, grad.dtype
        self.loop: native.Bound | None = None
        self.updates = 0

    @cached_property
    def vectors(self) -> int:
        """How many vectors each array on a GPU is made of; 0 where it is not: strided, or not of
        whole vectors from a vector's place on.
        """
        n = together(self.size, self.grad, *self.state.values())
        return self.size // n if n > 1 else 0

    @cached_property
    def blocks(self) -> list[Block]:
        """Views of both, cut to the size of a processor core's cache."""
        grad, state = self.grad, self.state
        if grad.ndim == 0:  # a reference works in place, and a NumPy number has no place
            return [(grad.reshape(1), {name: a.reshape(1) for name, a in state.items()})]
        if grad.ndim > 1:
            return [(grad, state)]
        cuts = [slice(start, start + BLOCK) for start in range(0, len(grad), BLOCK)]
        return [(grad[cut], {name: a[cut] for name, a in state.items()}) for cut in cuts]


class UpdateKernel(Kernel):
    """An optimizer's fused update, kernels/optim/NAME.cu, run in place over buffers.

    The header's `in` is the gradient, `out` is `param` and the state, `scalars` is a row of numbers
    in the parameters' dtype. Clipping comes before every formula, and so does weight decay, unless
    the scalars name it: then the formula does it by itself (kernels/optim/prelude.cuh). Each state
    is read once into a local and written once.

    The reference takes the header's names, in order, and updates param and state in place; states
    that an option leaves out are None. On NumPy arrays the CUDA text may run in its place, compiled
    for the CPU: gpunet.optim.native.
    """

    always_included = ("optim/prelude.cuh",)

    @cached_property
    def row_names(self) -> tuple[str, ...]:
        """What a row holds: the clipping limits, weight_decay, the header's scalars."""
        decay = () if self.decays_itself else ("weight_decay",)
        return (*LIMITS, *decay, *self.source.scalars)

    @cached_property
    def decays_itself(self) -> bool:
        """Whether weight decay is a part of the formula."""
        return "weight_decay" in self.source.scalars

    @cached_property
    def is_gpunets(self) -> bool:
        """Whether the formula is one of gpunet's own."""
        return self.source.path.is_relative_to(kernel_dir())

    def options(self, settings: Mapping[str, Any]) -> frozenset[str]:
        """The compile-time options that are on: those whose setting is neither 0 nor False."""
        return frozenset(option for option in self.source.options if settings[option])

    def slots(self, settings: Mapping[str, Any]) -> tuple[Argument, ...]:
        """The state arrays under these settings: every output but `param`."""
        return self.source.outputs_with(self.options(settings))[1:]

    def text(self, options: frozenset[str] = frozenset()) -> CudaText:
        """As it is made from the formula. With VECTORS among the options a thread takes 16 bytes of
        each array, else one element, wherever CuPy finds it; with MODELS, too, arrays have a row
        for each of several models, which has numbers of its own.
        """
        plain, outputs = super().text(options), self.source.outputs_with(options)
        names, preamble, raw = [p.name for p in outputs], plain.preamble, ""
        if VECTORS in options:
            preamble, raw = preamble + expand(["vector.cuh"]), "raw "
            lines = self._by_vectors(names, MODELS in options)
        else:
            lines = [*self._scalars(), *self._element(names, "{}_")]
        ins = f"{raw}T grad_, raw T rows, int64 at, raw int64 counters, raw T norm_"
        ins += ", uint32 models_, uint32 own_, int64 rest_" * (MODELS in options)
        outs = ", ".join(raw + p.declare("_") for p in outputs)
        return CudaText(plain.kind, (ins, outs, "\n".join(lines)), plain.name, preamble)

    def _scalars(self, models: bool = False) -> list[str]:
        """The row's numbers; what is not the formula's begins with _ lest it hides a name there."""
        names, place = self.row_names, f"((at + counters[UPDATE]) & {ROWS - 1})"
        place = f"({place} * models_ + _model)" if models else place
        lines = ["", f"const ptrdiff_t _row = {place} * {len(names)};"]
        lines += [f"const T {s} = rows[_row + {names.index(s)}];" for s in self.source.scalars]
        norm = "norm_[_model]" if models else "norm_[0]"
        lines += [f"const T _scale = clip_scale({norm}, rows[_row]), _limit = rows[_row + 1];"]
        return lines if self.decays_itself else [*lines, "const T _decay = rows[_row + 2];"]

    def _element(self, names: Sequence[str], place: str) -> list[str]:
        """The update of one element; it lies at `place`, where {} stands for an array's name."""
        lines = [f"T {name} = {place.format(name)};" for name in names]
        lines += [f"T grad = clipped({place.format('grad')}, _scale, _limit);"]
        lines += [] if self.decays_itself else ["grad = decayed(grad, param, _decay);"]
        lines += [self.source.body, f'#line 1 "{self.source.name}: stores"']
        return [*lines, *(f"{place.format(name)} = {name};" for name in names)]

    def _by_vectors(self, names: Sequence[str], models: bool) -> list[str]:
        """The update of the i-th vector of each array; loads first, for they take longest. Of a
        model's row `own_` vectors are updated, and `rest_` are not.
        """
        lines, at = [""], "_at" if models else "i"
        if models:
            lines += ["// scalar loads: the numbers of a model"]
            lines += ["const unsigned int _model = (unsigned int)i / own_;"]
            lines += ["const ptrdiff_t _at = i + _model * rest_;"]
        lines += [
            f"Vector<T> _v_{name} = vector_of({name}_[0], {at});" for name in ["grad", *names]
        ]
        lines += [*self._scalars(models), "const ptrdiff_t _first = i * Vector<T>::SIZE;"]
        lines += ["#pragma unroll", "for (int _k = 0; _k < Vector<T>::SIZE; ++_k) {"]
        lines += ["[[maybe_unused]] const ptrdiff_t i = _first + _k;"]
        lines += [*self._element(names, "_v_{}.at[_k]"), "}"]
        return [*lines, *(f"vector_of({name}_[0], {at}) = _v_{name};" for name in names)]

    def update(self, arrays: Arrays, row: Row, norm: Array | None = None) -> None:
        """One step, in place.

        row: the scalars, as `Rows` has them: on the CPU a tuple of NumPy numbers, on a GPU the
        table of all rows and the row's place in it, from which the counters count on. norm: array
        (1,), the norm of all gradients; None where nothing clips by it.
        """
        xp = arrays.xp
        if xp is np:
            loop = arrays.loop or self._loop_over(arrays)
            if loop is None:
                with subnormals.flushed(arrays.dtype):
                    self.by_numpy(arrays.blocks, row, norm)
            else:
                loop(row, norm)
            return
        options, (grad, *outputs) = self.in_order(arrays)
        table, at = row
        any_norm = table if norm is None else norm  # not looked at where the limit is infinite
        inputs = (table, at, counters.array(xp), any_norm)
        if arrays.vectors:
            size = {"size": arrays.vectors, "block_size": THREADS}
            self.built(xp, options | {VECTORS})(grad, *inputs, *outputs, **size)
        else:
            self.built(xp, options)(grad, *inputs, *outputs)

    def update_models(self, arrays: Arrays, row: Row, norm: Array | None) -> None:
        """One step of several models on a GPU, in place: arrays are (models, elements), the same
        columns of larger arrays, and begin and end on whole vectors.

        row: the table, (rows, models, scalars), and the place in it from which the counters count
        on. norm: (models,); None where nothing clips by it.
        """
        options, (grad, *outputs) = self.in_order(arrays)
        (table, at), (models, size) = row, grad.shape
        own, whole = size * grad.itemsize // VECTOR, grad.strides[0] // VECTOR
        numbers = (table, at, counters.array(arrays.xp), table if norm is None else norm)
        where = {"size": models * own, "block_size": THREADS}
        kernel = self.built(arrays.xp, options | {VECTORS, MODELS})
        kernel(grad, *numbers, models, own, whole - own, *outputs, **where)

    def in_order(self, arrays: Arrays) -> tuple[frozenset[str], list[Array]]:
        """The options that the state tells of, and the arrays in the header's order."""
        source, state = self.source, arrays.state
        options = frozenset(s.option for s in source.outputs if s.option and s.name in state)
        return options, [arrays.grad, *(state[s.name] for s in source.outputs_with(options))]

    def _loop_over(self, arrays: Arrays) -> native.Bound | None:
        """The formula compiled for these, from now on; None as long as it is not there."""
        arrays.updates += 1
        if not self._may_be_native(arrays):
            return None
        options, ordered = self.in_order(arrays)
        loop = self._loop(arrays.dtype, options) if native.suits(ordered) else None
        if loop is not None:
            arrays.loop = loop.over(ordered)
        return arrays.loop

    def together(self, arrays: Arrays) -> native.Loop | None:
        """The formula compiled for several ranges of these, each with scalars of its own; None as
        long as it is not there.
        """
        arrays.updates += 1
        options, ordered = self.in_order(arrays)
        made = native.choice() != "numpy" and (np, (arrays.dtype, options)) in self._built
        suits = (made or self._may_be_native(arrays)) and native.suits(ordered)
        return self._loop(arrays.dtype, options) if suits else None

    def settle(self, arrays: Arrays) -> None:
        """Wait for the loop that a long training would come to have, if any: for benchmarks."""
        arrays.updates = native.OFTEN
        if arrays.xp is np and self._loop_over(arrays) is None:
            for found in self._built.values():
                if isinstance(found, native.Later):
                    found.wait()
            self._loop_over(arrays)

    def _may_be_native(self, arrays: Arrays) -> bool:
        """Whether a loop may take them. Without being asked for only where it pays, and only
        gpunet's own formulas, which are NumPy's to the last bit.
        """
        choice = native.choice()
        if choice or not self.is_gpunets:
            return choice == "native"
        return arrays.size >= native.LEAST or arrays.updates > native.OFTEN

    def _loop(self, dtype: Any, options: frozenset[str]) -> native.Loop | None:
        """The loop, or None as long as it is not there."""
        key = (np, (dtype, options))
        found = self._built.get(key)
        if found is None:

            def make() -> native.Loop:
                return native.Loop(self.text(options), dtype, len(self.row_names))

            found = self._built[key] = make() if native.choice() else native.Later(make)
        loop: native.Loop | None = found.found if isinstance(found, native.Later) else found
        return loop

    def by_numpy(self, parts: Sequence[Block], row: Row, norm: Array | None) -> None:
        """What `update` does on NumPy arrays, in the order of `parts`."""
        limits, scalars = row[:2], row[len(row) - len(self.source.scalars) :]
        clips, decays = limits != NO_LIMITS, not self.decays_itself and row[2] != 0
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # as on a GPU
            for grad, state in parts:
                if clips:
                    grad = clipped(grad, norm, *limits)
                if decays:
                    grad = decayed(grad, state["param"], row[2])
                self.reference(grad, *scalars, **state)


norm_of = Kernel("optim/norm", lambda x: np.linalg.norm(x.astype(np.float64, copy=False)))


def norms_of(gradients: Sequence[Array]) -> dict[Any, Array]:
    """The 2-norm of all of them together as an array (1,), in each of their dtypes."""
    if not gradients:
        return {}
    xp = array_module(gradients[0])
    total = xp.reshape(reduce(xp.hypot, [norm_of(g.reshape(-1)) for g in gradients]), 1)
    return {dtype: total.astype(dtype, copy=False) for dtype in {g.dtype for g in gradients}}


def norms_of_rows(gradients: Sequence[Array]) -> Array:
    """The same of several models on a GPU, (models, elements) each: (models,), in their dtype."""
    xp = array_module(gradients[0])
    each = [norm_of.built(xp)(gradient, axis=1) for gradient in gradients]
    return reduce(xp.hypot, each).astype(gradients[0].dtype, copy=False)


# The NumPy twins of kernels/optim/prelude.cuh


def clipped(grad: Array, norm: Array | None, clip_norm: Any, clip_value: Any) -> Array:
    """The gradient that an update sees; `grad` itself where both limits are infinite."""
    if norm is not None and clip_norm != math.inf:
        scale = clip_norm / (norm[0] + grad.dtype.type(1e-6))
        if scale < 1:
            grad = grad * scale
    return np.clip(grad, -clip_value, clip_value) if clip_value != math.inf else grad


def decayed(grad: Array, param: Array, weight_decay: Any) -> Array:
    """The gradient with that of weight_decay / 2 * param^2; `grad` itself where that is 0."""
    return grad + weight_decay * param if weight_decay else grad
