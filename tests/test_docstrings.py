"""Every name of the public interface says what it is: help() and the API reference show it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import gpunet as gn
import gpunet.data
import gpunet.study
import gpunet.train

PACKAGES = [gn, gn.data, gn.functional, gn.losses, gn.optim, gn.schedules, gn.study, gn.train]
with suppress(ImportError):  # where scikit-learn is
    PACKAGES.append(importlib.import_module("gpunet.sklearn"))
IN_THE_CLASS = {"reference", "derived"}  # an optimizer's formula; its class tells it


def _public(package: Any) -> Iterator[tuple[str, Any]]:
    """Functions, classes and ops: of `__all__`, or those that are written there."""
    own = [
        name
        for name, value in list(vars(package).items())  # which a lazy name may enter
        if isinstance(value, gn.Op) or inspect.getmodule(value) is package
    ]
    for name in getattr(package, "__all__", own):
        value = getattr(package, name)
        told = inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, gn.Op)
        if told and not name.startswith("_"):
            yield name, value


def _members(kind: type) -> Iterator[str]:
    """What a class has of its own and of gpunet's base classes."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith("gpunet")]
    names = {name for base in bases for name in vars(base)}
    known = {*dir(np.ndarray), *dir(np)} if issubclass(kind, gn.Tensor) else set()  # NumPy's words
    for name in sorted(names - known - IN_THE_CLASS):
        value = inspect.getattr_static(kind, name)
        if not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
            yield name


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_nothing_is_without_words(package: Any) -> None:
    public = dict(_public(package))
    assert public
    missing = [name for name, value in public.items() if not inspect.getdoc(value)]
    for name, kind in public.items():
        if inspect.isclass(kind) and not getattr(kind, "_is_protocol", False):
            found = [m for m in _members(kind) if not inspect.getdoc(getattr(kind, m))]
            missing += [f"{name}.{member}" for member in found]
    assert missing == []


def test_a_member_without_words_is_found() -> None:
    class Silent(gn.ReLU):
        def whisper(self) -> None:
            pass

    Silent.__module__ = "gpunet.silent"
    assert "whisper" in _members(Silent)
    assert not inspect.getdoc(Silent.whisper)
