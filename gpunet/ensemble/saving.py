"""An ensemble between two fits as the bytes of one file, and back."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from typing import Any

from gpunet.ensemble.members import Member
from gpunet.packing import pack, unpack
from gpunet.saving import read, unusable
from gpunet.sealing import seal

PARTS = {"seed": int, "arrays": dict, "numbers": dict, "optimizer": dict, "history": dict}
HISTORY: dict[str, Any] = {"rows": list, "stopped": str, "kept": int | None}


def to_bytes(members: Sequence[Member]) -> bytes:
    """Of each model its numbers, its optimizer's state and its history. TypeError for a column of
    the history that a file cannot hold.
    """
    tree = [
        {
            "seed": member.seed,
            "arrays": member.model.state_dict(),
            "numbers": member.model.numbers(),
            "optimizer": member.optimizer.state_dict(),
            "history": {name: getattr(member.history, name) for name in HISTORY},
        }
        for member in members
    ]
    packed, arrays = pack(tree)
    return seal(arrays, {"ensemble": json.dumps(packed)})


def load_into(members: Sequence[Member], path: str | os.PathLike[str]) -> None:
    """See `Ensemble.load`: all is tried on copies first, so that nothing is changed if one of them
    does not fit.
    """
    words, arrays = read(path, "ensemble")
    try:
        tree = unpack(json.loads(words["ensemble"]), arrays)
        for saved in tree:
            _check(saved, PARTS)
            _check(saved["history"], HISTORY)
    except Exception as error:  # a damaged description may be anything
        raise unusable(path, f"not an ensemble: {type(error).__name__}: {error}") from None
    seeds = [saved["seed"] for saved in tree]
    if seeds != [member.seed for member in members]:
        raise ValueError(
            f"{os.fspath(path)}: has {len(seeds)} models, this ensemble {len(members)}"
            if len(seeds) != len(members)
            else f"{os.fspath(path)}: the models have other seeds"
        )
    for k, (member, saved) in enumerate(zip(members, tree, strict=True)):
        try:
            _fill(*copy.deepcopy((member.model, member.optimizer)), saved)
        except Exception as error:  # of a description that somebody changed, anything
            said = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise ValueError(f"{os.fspath(path)}: model {k}: {said}") from error
    for member, saved in zip(members, tree, strict=True):
        _fill(member.model, member.optimizer, saved)
        vars(member.history).update(saved["history"])


def _fill(model: Any, optimizer: Any, saved: dict[str, Any]) -> None:
    model.load_state_dict(saved["arrays"])
    model.load_numbers(saved["numbers"])
    optimizer.load_state_dict(saved["optimizer"])


def _check(saved: dict[str, Any], parts: dict[str, Any]) -> None:
    """TypeError or KeyError where a part is missing or is not what it must be."""
    for name, kind in parts.items():
        if not isinstance(saved[name], kind):
            raise TypeError(f"{name} is {saved[name]!r:.40}")
