"""Make optimizers.npz and optimizers.json: optimizer trajectories by PyTorch and optax, float64.

    python make_optimizers.py            make both files (needs torch, jax, optax)
    python make_optimizers.py --check    compare the stored file with recurrences.py (NumPy only)

optimizers.npz holds, in float64:
    initial      (n,)         the parameter before step 1
    gradients    (steps, n)   the gradient of each step; it does not depend on the parameter
    lr_schedule  (steps,)     the learning rate of each step, for cases with "lr_schedule": true
    CASE         (steps, n)   the parameter after each step, one array a case

optimizers.json lists the cases: gpunet's class, the keyword arguments to give it (what is left out
is meant to be gpunet's default), "resolved" (all values that the run used, under gpunet's names),
clipping, and the library, version and call that made the array. See README.md beside this file.
"""

import argparse
import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import recurrences

HERE = Path(__file__).parent
STEPS = 60
SEED = 20261121
SPLITS = (10, 8, 5)  # cases that clip by norm hold the parameter as three tensors of these sizes
TOLERANCE = 1e-12
Array = np.ndarray
Options = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One run: a gpunet optimizer, its keyword arguments, and the library that plays it."""

    name: str
    optimizer: str
    kwargs: Options = field(default_factory=dict)
    library: str = "torch"
    lr_schedule: bool = False
    clip: dict[str, float] = field(default_factory=dict)


# gpunet's class -> torch.optim's class and the arguments that make it the same optimizer.
TORCH_CLASSES: dict[str, tuple[str, Options]] = {
    "SGD": ("SGD", {}),
    "Momentum": ("SGD", {}),
    "Nesterov": ("SGD", {"nesterov": True}),
    "AdaGrad": ("Adagrad", {}),
    "RMSProp": ("RMSprop", {}),
    "RProp": ("Rprop", {}),
    "AdaDelta": ("Adadelta", {}),
    "Adam": ("Adam", {}),
    "AMSGrad": ("Adam", {"amsgrad": True}),
    "AdaMax": ("Adamax", {}),
    "AdamW": ("AdamW", {}),
    "NAdam": ("NAdam", {}),
    "RAdam": ("RAdam", {}),
}
# Where the names differ: (torch class, gpunet keyword) -> torch keyword.
TORCH_NAMES = {
    ("RMSprop", "rho"): "alpha",
    ("Adagrad", "initial_accumulator"): "initial_accumulator_value",
}
# The keywords of each torch class that gpunet has too, for "resolved".
COMMON = ["lr", "momentum", "rho", "betas", "eps", "weight_decay", "initial_accumulator"]
COMMON += ["centered", "momentum_decay", "etas", "step_sizes"]


def cases() -> Iterator[Case]:
    """All cases, in the order of the manifest."""
    yield from sgd_cases()
    yield from adaptive_cases()
    yield from rprop_and_adadelta_cases()
    yield from adam_cases()
    yield from adam_family_cases()
    yield from optax_cases()
    yield from clipping_cases()


def sgd_cases() -> Iterator[Case]:
    """SGD, Momentum and Nesterov; the runs with a changing lr tell velocity from buffer form."""
    yield Case("sgd_defaults", "SGD")
    yield Case("sgd_weight_decay", "SGD", {"lr": 0.01, "weight_decay": 0.1})
    for name, cls in (("momentum", "Momentum"), ("nesterov", "Nesterov")):
        yield Case(name, cls, {"lr": 0.01, "momentum": 0.9})
        yield Case(f"{name}_0.5", cls, {"lr": 0.02, "momentum": 0.5})
        decayed = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
        yield Case(f"{name}_weight_decay", cls, decayed)
        yield Case(f"{name}_lr_schedule", cls, {"momentum": 0.9}, "optax", lr_schedule=True)


def adaptive_cases() -> Iterator[Case]:
    """AdaGrad and RMSProp with eps outside the root (torch) and inside it (optax)."""
    yield Case("adagrad_defaults", "AdaGrad")
    yield Case("adagrad_initial", "AdaGrad", {"lr": 0.1, "initial_accumulator": 0.1})
    yield Case("adagrad_weight_decay", "AdaGrad", {"lr": 0.1, "weight_decay": 0.1, "eps": 1e-4})
    inside: Options = {"lr": 0.1, "eps": 1e-7, "eps_inside": True}
    yield Case("adagrad_inside", "AdaGrad", inside | {"initial_accumulator": 0.1}, "optax")
    yield Case("adagrad_inside_zero", "AdaGrad", inside | {"initial_accumulator": 0.0}, "optax")
    yield Case("rmsprop_defaults", "RMSProp")
    yield Case("rmsprop_eps", "RMSProp", {"lr": 0.02, "rho": 0.9, "eps": 1e-3})
    yield Case("rmsprop_centered", "RMSProp", {"lr": 0.01, "rho": 0.99, "centered": True})
    yield Case("rmsprop_momentum", "RMSProp", {"lr": 0.01, "rho": 0.9, "momentum": 0.9})
    both = {"rho": 0.95, "momentum": 0.9, "centered": True}
    yield Case("rmsprop_centered_momentum", "RMSProp", both | {"lr": 0.01})
    yield Case("rmsprop_momentum_lr_schedule", "RMSProp", both, lr_schedule=True)
    yield Case("rmsprop_weight_decay", "RMSProp", {"lr": 0.01, "weight_decay": 0.1})
    inside = {"lr": 0.01, "rho": 0.9, "eps": 1e-6, "eps_inside": True}
    yield Case("rmsprop_inside", "RMSProp", inside, "optax")
    yield Case("rmsprop_inside_centered", "RMSProp", inside | {"centered": True}, "optax")
    yield Case("rmsprop_inside_momentum", "RMSProp", inside | {"momentum": 0.9}, "optax")


def rprop_and_adadelta_cases() -> Iterator[Case]:
    """RProp (iRprop-), with bounds that are reached, and AdaDelta."""
    yield Case("rprop_defaults", "RProp")
    yield Case("rprop_etas", "RProp", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 1.0)})
    first = {"lr": 0.5, "etas": (0.5, 1.2), "step_sizes": (1e-2, 0.2)}
    yield Case("rprop_lr_above_largest_step", "RProp", first)
    yield Case("adadelta_defaults", "AdaDelta")
    yield Case("adadelta_0.95", "AdaDelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-6})
    decayed = {"lr": 1.0, "rho": 0.9, "eps": 1e-4, "weight_decay": 0.1}
    yield Case("adadelta_weight_decay", "AdaDelta", decayed)


def adam_cases() -> Iterator[Case]:
    """Adam in its three placements of eps."""
    yield Case("adam_defaults", "Adam")
    yield Case("adam_betas", "Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3})
    yield Case("adam_betas_zero", "Adam", {"lr": 0.01, "betas": (0.0, 0.9)})
    yield Case("adam_weight_decay", "Adam", {"lr": 0.01, "weight_decay": 0.1})
    yield Case("adam_lr_schedule", "Adam", {}, lr_schedule=True)
    root = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "eps_root": 1e-4}
    yield Case("adam_eps_root", "Adam", root, "optax")
    hat = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-7, "eps_hat": True}
    yield Case("adam_eps_hat", "Adam", hat)
    decayed = {"betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1}
    yield Case("adam_eps_hat_weight_decay", "Adam", hat | decayed)


def adam_family_cases() -> Iterator[Case]:
    """AdamW, AMSGrad, AdaMax, NAdam and RAdam."""
    for cls in ("AdamW", "AMSGrad", "AdaMax", "NAdam", "RAdam"):
        name = cls.lower()
        yield Case(f"{name}_defaults", cls)
        betas: Options = {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3}
        yield Case(f"{name}_betas", cls, betas)
        yield Case(f"{name}_weight_decay", cls, {"lr": 0.01, "weight_decay": 0.1})
    yield Case("adamw_lr_schedule", "AdamW", {"weight_decay": 0.1}, lr_schedule=True)
    yield Case("nadam_momentum_decay", "NAdam", {"lr": 0.01, "momentum_decay": 1.0})
    # rho_inf = 4: never rectified, and the rectification would divide by zero.
    yield Case("radam_never_rectified", "RAdam", {"lr": 0.01, "betas": (0.9, 0.6)})


def optax_cases() -> Iterator[Case]:
    """What PyTorch does not have: AdaBelief, Lion and COCOB."""
    belief: Options = {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-16, "eps_root": 1e-16}
    yield Case("adabelief", "AdaBelief", belief, "optax")
    other = {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-8, "eps_root": 1e-6}
    yield Case("adabelief_eps", "AdaBelief", other, "optax")
    yield Case("adabelief_weight_decay", "AdaBelief", other | {"weight_decay": 0.1}, "optax")
    plain: Options = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0}
    yield Case("lion", "Lion", plain, "optax")
    yield Case("lion_weight_decay", "Lion", plain | {"weight_decay": 0.1}, "optax")
    scheduled = {"betas": (0.95, 0.98), "weight_decay": 0.1}
    yield Case("lion_lr_schedule", "Lion", scheduled, "optax", lr_schedule=True)
    bet: Options = {"alpha": 100.0, "eps": 1e-8, "weight_decay": 0.0}
    yield Case("cocob", "COCOB", bet, "optax")
    yield Case("cocob_eps", "COCOB", bet | {"eps": 1e-2}, "optax")
    # Only a small alpha brings G + L above alpha L within these steps.
    yield Case("cocob_alpha", "COCOB", bet | {"alpha": 10.0}, "optax")
    yield Case("cocob_weight_decay", "COCOB", bet | {"weight_decay": 0.1}, "optax")


def clipping_cases() -> Iterator[Case]:
    """Clipping comes before weight decay and before the optimizer."""
    norm, value = {"norm": 35.0}, {"value": 0.5}
    yield Case("clip_norm", "SGD", {"lr": 0.01}, clip=norm)
    decayed = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    yield Case("clip_norm_momentum_weight_decay", "Momentum", decayed, clip=norm)
    yield Case("clip_norm_never", "SGD", {"lr": 0.01}, clip={"norm": 1e3})
    yield Case("clip_value", "SGD", {"lr": 0.01}, clip=value)
    yield Case("clip_value_adam", "Adam", {"lr": 0.01, "weight_decay": 0.1}, clip=value)


def make_data() -> dict[str, Array]:
    """The initial parameter, the gradients and the changing learning rate.

    Elements 0-19: each scale of 1e-3, 1e-2, 0.1, 1, 10 with each ratio mean / deviation of 0, 0.5,
    1.2, 3, so that some flip at random and some nearly never. Element 20 has many zero gradients,
    21 has none but zeros for ten steps, 22 falls to a hundredth of its size halfway.
    """
    rng = np.random.default_rng(SEED)
    scale = np.append(np.repeat(10.0 ** np.arange(-3, 2), 4), [0.1, 1.0, 1.0])
    ratio = np.append(np.tile([0.0, 0.5, 1.2, 3.0], 5), [0.5, 0.5, 0.5])
    mean = ratio * rng.choice([-1.0, 1.0], scale.size)
    gradients = scale * (mean + rng.standard_normal((STEPS, scale.size)))
    gradients[rng.random(STEPS) < 0.5, 20] = 0.0
    gradients[:10, 21] = 0.0
    gradients[STEPS // 2 :, 22] *= 0.01
    t = np.arange(1, STEPS + 1)
    lr = np.where(t <= 20, 0.02 * t / 20, np.where(t <= 40, 0.02, 0.002))
    return {
        "initial": rng.standard_normal(scale.size),
        "gradients": gradients,
        "lr_schedule": lr,
    }


def pretty_call(function: str, options: Options) -> str:
    """The call as a reader would write it."""
    return f"{function}({', '.join(f'{k}={v!r}' for k, v in options.items())})"


def torch_options(case: Case) -> tuple[str, Options]:
    """The torch.optim class and its keyword arguments for a case."""
    name, options = TORCH_CLASSES[case.optimizer]
    given = {k: v for k, v in case.kwargs.items() if k != "eps_hat"}
    return name, options | {TORCH_NAMES.get((name, k), k): v for k, v in given.items()}


def resolve(name: str, defaults: Options, case: Case) -> Options:
    """Every value that torch used, under gpunet's names."""
    found = {k: defaults.get(TORCH_NAMES.get((name, k), k)) for k in COMMON}
    resolved = {k: v for k, v in found.items() if v is not None} | case.kwargs
    unused = {"lr": case.lr_schedule, "momentum": case.optimizer == "SGD"}
    return {k: v for k, v in resolved.items() if not unused.get(k, False)}


def run_torch(case: Case, data: dict[str, Array]) -> tuple[Array, Options, str]:
    """A trajectory by torch.optim: the parameter after each step, resolved options, the call."""
    import torch

    torch.set_default_dtype(torch.float64)  # NAdam keeps its momentum product in this type
    sizes = SPLITS if "norm" in case.clip else (data["initial"].size,)
    params = [torch.nn.Parameter(p.clone()) for p in torch.tensor(data["initial"]).split(sizes)]
    name, options = torch_options(case)
    opt = getattr(torch.optim, name)(params, foreach=False, **options)
    rows = []
    for t, gradient in enumerate(torch.tensor(data["gradients"]), start=1):
        for p, g in zip(params, gradient.split(sizes), strict=True):
            p.grad = g.clone()
        clip_torch(params, case.clip)
        set_torch_step(opt.param_groups[0], case, t, data["lr_schedule"])
        opt.step()
        rows.append(torch.cat([p.detach() for p in params]).numpy().copy())
    call = pretty_call(f"torch.optim.{name}", options) + torch_notes(case)
    return np.array(rows), resolve(name, opt.defaults, case), call


def clip_torch(params: list[Any], how: dict[str, float]) -> None:
    """Clip the gradients in place as the case asks."""
    from torch.nn import utils

    if "norm" in how:
        utils.clip_grad_norm_(params, max_norm=how["norm"])
    if "value" in how:
        utils.clip_grad_value_(params, clip_value=how["value"])


def set_torch_step(group: Options, case: Case, t: int, lr: Array) -> None:
    """Set what changes from step to step: lr, and the eps that plays Adam's eps-hat form.

    lr_t m / (sqrt(v) + eps_hat) equals Algorithm 1 with eps = eps_hat / sqrt(1 - beta2^t), so torch
    can play the section-2 form that no installed library has.
    """
    if case.lr_schedule:
        group["lr"] = float(lr[t - 1])
    if case.kwargs.get("eps_hat", False):
        group["eps"] = case.kwargs["eps"] / (1 - group["betas"][1] ** t) ** 0.5


def torch_notes(case: Case) -> str:
    """What a case does besides calling the optimizer."""
    notes = []
    if "norm" in case.clip:
        notes.append(f"after clip_grad_norm_(max_norm={case.clip['norm']!r}) over all tensors")
    if "value" in case.clip:
        notes.append(f"after clip_grad_value_(clip_value={case.clip['value']!r})")
    if case.lr_schedule:
        notes.append("lr set from lr_schedule before each step")
    if case.kwargs.get("eps_hat", False):
        notes.append("eps set to eps_hat / sqrt(1 - beta2**t) before each step")
    return "; ".join(["", *notes])


def optax_call(case: Case, lr: float | Callable[..., Any]) -> tuple[str, Options]:
    """The name of the optax function that plays a case (or of one below), and its arguments."""
    o = case.kwargs
    rate: Options = {"learning_rate": lr}
    betas = dict(zip(("b1", "b2"), o.get("betas", ()), strict=False))
    if case.optimizer == "AdaGrad":
        options = {"initial_accumulator_value": o["initial_accumulator"], "eps": o["eps"]}
        return "adagrad", rate | options
    if case.optimizer == "RMSProp":
        options = {"decay": o["rho"], "eps": o["eps"], "eps_in_sqrt": o["eps_inside"]}
        return "rmsprop", rate | options | {k: o[k] for k in ("centered", "momentum") if k in o}
    if case.optimizer == "COCOB":
        return "contrib.cocob", {"learning_rate": 1.0} | o
    if case.optimizer in ("Momentum", "Nesterov"):
        nesterov = case.optimizer == "Nesterov"
        return "velocity", rate | {"decay": o["momentum"], "nesterov": nesterov}
    rest = {k: v for k, v in o.items() if k in ("eps", "eps_root", "weight_decay")}
    coupled = case.optimizer == "AdaBelief" and "weight_decay" in o
    return "coupled_adabelief" if coupled else case.optimizer.lower(), rate | betas | rest


def velocity(learning_rate: float | Callable[..., Any], decay: float, nesterov: bool) -> object:
    """Momentum in velocity form: lr goes in before the trace, so the trace remembers old rates."""
    import optax

    rate = optax.scale_by_learning_rate(learning_rate)
    return optax.chain(rate, optax.trace(decay, nesterov=nesterov))


def coupled_adabelief(weight_decay: float, **options: float) -> object:
    """AdaBelief with L2 added to the gradient; optax's own has no weight decay."""
    import optax

    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adabelief(**options))


# What optax builds only by a chain: our function, and how the manifest writes it.
CHAINS: dict[str, tuple[Callable[..., Any], str]] = {
    "velocity": (velocity, "optax.chain(scale_by_learning_rate, trace)"),
    "coupled_adabelief": (coupled_adabelief, "optax.chain(add_decayed_weights, adabelief)"),
}


def find_optax(name: str) -> tuple[Callable[..., Any], str]:
    """The function behind a name of optax_call, and how the manifest writes it."""
    import optax.contrib

    if name in CHAINS:
        return CHAINS[name]
    return operator.attrgetter(name)(optax), f"optax.{name}"


def run_optax(case: Case, data: dict[str, Array]) -> tuple[Array, Options, str]:
    """A trajectory by optax: the parameter after each step, resolved options, the call."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import optax

    table = jnp.asarray(data["lr_schedule"])
    lr = (lambda count: table[count]) if case.lr_schedule else case.kwargs.get("lr", 1.0)
    name, options = optax_call(case, lr)
    function, written = find_optax(name)
    transform = function(**options)
    w = jnp.asarray(data["initial"])
    state = transform.init(w)
    rows = []
    for gradient in data["gradients"]:
        updates, state = transform.update(jnp.asarray(gradient), state, w)
        w = optax.apply_updates(w, updates)
        rows.append(np.asarray(w))
    shown = options | ({"learning_rate": "lr_schedule"} if case.lr_schedule else {})
    return np.array(rows), dict(case.kwargs), pretty_call(written, shown)


def versions() -> dict[str, str]:
    """The versions of the libraries that make the files."""
    import jax
    import optax
    import torch

    found = {"torch": torch, "jax": jax, "optax": optax, "numpy": np}
    return {name: str(module.__version__) for name, module in found.items()}


def make() -> tuple[dict[str, Array], Options]:
    """Run every case: the arrays of the npz and the manifest."""
    runners = {"torch": run_torch, "optax": run_optax}
    data, used, entries = make_data(), versions(), []
    arrays = dict(data)
    for case in cases():
        rows, resolved, call = runners[case.library](case, data)
        if rows.dtype != np.float64 or not np.isfinite(rows).all() or case.name in arrays:
            raise ValueError(f"{case.name}: not float64, not finite, or named twice")
        arrays[case.name] = rows
        entry: Options = {"name": case.name, "optimizer": case.optimizer, "kwargs": case.kwargs}
        entry |= {"resolved": resolved, "lr_schedule": case.lr_schedule, "clip": case.clip}
        if "norm" in case.clip:
            entry["splits"] = SPLITS
        entry |= {"library": f"{case.library} {used[case.library]}", "call": call}
        entries.append(entry)
    return arrays, {"steps": STEPS, "seed": SEED, "versions": used, "cases": entries}


def write() -> None:
    """Make the files anew."""
    arrays, manifest = make()
    np.savez_compressed(HERE / "optimizers.npz", **arrays)  # type: ignore[arg-type]
    lines = ",\n".join("  " + json.dumps(entry) for entry in manifest.pop("cases"))
    head = json.dumps(manifest)[:-1]
    (HERE / "optimizers.json").write_text(f'{head}, "cases": [\n{lines}\n]}}\n')


def check() -> int:
    """Compare the stored trajectories with recurrences.py; the number that disagree.

    The error of an element is taken relative to its largest magnitude so far: the plain relative
    error means nothing where a trajectory crosses zero.
    """
    manifest = json.loads((HERE / "optimizers.json").read_text())
    with np.load(HERE / "optimizers.npz") as stored:
        data = dict(stored)
    bad = 0
    for case in manifest["cases"]:
        want, got = data[case["name"]], recurrences.trajectory(case, data)
        error = np.max(np.abs(got - want) / np.maximum.accumulate(np.abs(want)))
        wrong = not error <= TOLERANCE
        bad += wrong
        mark = "DISAGREES" if wrong else "ok"
        size = np.max(np.abs(want))
        print(f"{case['name']:34} {case['library']:18} error {error:.1e} max|w| {size:8.3g} {mark}")
    print(f"{len(manifest['cases'])} cases, {bad} disagree (tolerance {TOLERANCE})")
    return bad


def main() -> None:
    """Make the files, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with recurrences.py")
    if parser.parse_args().check:
        raise SystemExit(1 if check() else 0)
    write()


if __name__ == "__main__":
    main()
