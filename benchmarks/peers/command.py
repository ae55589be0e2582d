"""All workloads, all peers: compare, then time, then write one JSON."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks import records
from benchmarks.machine import device_name, watched
from benchmarks.peers import comparing
from benchmarks.peers.base import THREADS, Make, Peer
from benchmarks.peers.rounds import PAUSE_S, Seconds, interleaved, summary
from benchmarks.records import QUIET
from benchmarks.workloads import Task, Workload, chosen, task, tiny
from gpunet import machine

MISTAKE = 2  # exit status
LIBRARIES = {
    "gpunet": "ours",
    "PyTorch": "pytorch",
    "JAX": "with_jax",
    "scikit-learn": "scikit_learn",
    "NumPy": "by_hand",
}
EPOCHS = 31  # rounds of a whole epoch
RATIOS_ARE = "ratios are medians of the rounds' ratios"
ATTEMPTS = 3  # to find the machine quiet


def run(options: argparse.Namespace) -> int:
    if options.device == "cuda" and (trouble := machine.problems()):
        return _mistake(f"no usable GPU: {trouble[0].reason}")
    try:
        listed = chosen(tuple(options.workloads), options.device)
    except ValueError as error:
        return _mistake(str(error))
    libraries, missing = loaded()
    versions = {name: v for module in libraries.values() for name, v in module.VERSIONS.items()}
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}")
    place = options.device
    about = records.header(place, device_name(place), threads=THREADS, commit=options.commit)
    print(f"{records.taken_on(about)}; {RATIOS_ARE}")
    if about.get("pinned"):
        print(about["pinned"])
    results = {}
    for workload in listed:
        workload = tiny(workload) if options.quick else workload
        results[workload.name] = measured(workload, libraries, options)
    about |= {"quick": options.quick, "versions": versions, "missing": missing}
    print(f"written to {records.write(options.out, about | {'workloads': results})}")
    return int(any(one["failed"] for one in results.values()))


def _mistake(message: str) -> int:
    print(f"benchmarks.peers: {message}")
    return MISTAKE


def loaded() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """(modules by library, why the others are missing)."""
    modules, missing = {}, {}
    for library, name in LIBRARIES.items():
        try:
            modules[library] = importlib.import_module(f"benchmarks.peers.{name}")
        except ImportError as error:
            missing[library] = f"not installed ({error})"
    return modules, missing


def measured(
    workload: Workload, libraries: Mapping[str, ModuleType], options: argparse.Namespace
) -> dict[str, Any]:
    """The record of one workload: what it is, each peer's figures, and which failed and why."""
    print(f"{workload.name}  {workload.text}", flush=True)
    plain = task(workload, options.device, options.data)
    makes: dict[str, Make] = {}
    for module in libraries.values():
        makes |= module.peers(workload, options.device)
    makes = {n: m for n, m in makes.items() if not any(w in n for w in options.without)}
    peers, errors, failed = compared(plain, makes)
    rounds = min(options.rounds, EPOCHS) if workload.rows else options.rounds
    pause = PAUSE_S if options.device == "cpu" and not options.quick else 0.0
    seconds, steps, others = in_quiet(
        lambda: interleaved(peers, rounds, options.seconds, workload.steps_a_round, pause),
        1 if options.quick else ATTEMPTS,
    )
    figures = {
        name: summary(seconds, name) | {"steps_a_round": steps[name], "loss_error": errors[name]}
        for name in peers
    }
    for name, one in figures.items():
        print(_line(name, one), flush=True)
    for name, reason in failed.items():
        print(f"    {name:26} FAILED: {reason}", flush=True)
    return {
        "what": workload.text,
        "peers": figures,
        "failed": failed,
        "others_share": others,
    }


def in_quiet(
    measure: Callable[[], tuple[Seconds, dict[str, int]]], attempts: int
) -> tuple[Seconds, dict[str, int], float | None]:
    """What `measure` returns and the share of other programs meanwhile; measured again where that
    was large, and of all the quietest.
    """
    found = []
    for _ in range(attempts):
        with watched() as others:
            seconds, steps = measure()
        found.append((others.share or 0.0, seconds, steps, others.share))
        if found[-1][0] <= QUIET:
            break
        print(f"    not quiet: other programs took {others.share:.0%} of the processor", flush=True)
    _, seconds, steps, share = min(found, key=lambda one: one[0])
    return seconds, steps, share


def compared(
    plain: Task, makes: Mapping[str, Make]
) -> tuple[dict[str, Peer], dict[str, float], dict[str, str]]:
    """(peers ready to be timed, the largest error of their losses, why the others failed).

    gpunet comes first: it is what the others are compared with.
    """
    peers: dict[str, Peer] = {}
    errors, failed = {}, {}
    dropout = plain.workload.dropout
    tolerance = comparing.TOLERANCE[plain.workload.optimizer]
    expected: list[list[float]] = []
    for name, make in makes.items():
        try:
            peer = make(plain)
            found = [peer.losses(comparing.STEPS)]
            if dropout:
                peer = make(replace(plain, dropout=dropout))
                found.append(peer.losses(comparing.STEPS))
        except Exception as error:  # a library that fails is told, and the others go on
            failed[name] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            continue
        expected = expected or found
        wrong = comparing.problem(found[0], expected[0], tolerance)
        if dropout and not wrong:
            wrong = comparing.dropout_problem(found[1], expected[1])
        if wrong:
            failed[name] = wrong
        else:
            peers[name], errors[name] = peer, comparing.error(found[0], expected[0])
    return peers, errors, failed


def _line(name: str, one: Mapping[str, Any]) -> str:
    low, high = one["quartiles_us"]
    times = one["times_gpunet"]
    beside = "" if times is None or name == "gpunet" else f"{times:6.2f} x gpunet"
    spread = f"({low:,.1f} to {high:,.1f})"
    error = np.format_float_scientific(one["loss_error"], 1)
    return f"    {name:26} {one['us_per_step']:>11,.1f} us {spread:26} {beside:16} loss {error}"
