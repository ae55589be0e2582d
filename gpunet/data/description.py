"""What new rows need to be predicted, and the predictions to be read: words for a model file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gpunet.data.features import Feature
from gpunet.data.scaling import Float64

VERSION = 1
MOST = 50_000  # numbers of a row that are told of: a file's header holds no more


@dataclass(frozen=True)
class Description:
    """Of the data that a network was trained on.

    name: of the data set. label: what is predicted. classes: the names of labels 0..K-1, None for
    numbers. columns: what a row has, in the network's order; header: all that the file had, with
    the label and what was left out; both None where they have no names. features: how each column
    becomes numbers; None where all are numbers already. scale, shift: x = (numbers - shift) / scale
    is what the network is given. target_scale, target_shift: its outputs y stand for
    y * target_scale + target_shift. shape: of one sample before it was made a row.
    """

    name: str
    label: str | None
    classes: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    header: tuple[str, ...] | None
    features: tuple[Feature, ...] | None
    shape: tuple[int, ...] | None
    width: int
    scale: float | Float64
    shift: float | Float64
    target_scale: float
    target_shift: float | Float64

    @property
    def count(self) -> int:
        """How many columns a row has."""
        return self.width if self.features is None else len(self.features)

    @property
    def outputs(self) -> int:
        """How many numbers the network puts out."""
        return len(self.classes) if self.classes is not None else int(np.size(self.target_shift))

    @property
    def read(self) -> tuple[str, ...]:
        """What each column is called in an error."""
        return self.columns or tuple(f"column {k + 1}" for k in range(self.count))

    @property
    def inputs(self) -> tuple[str, ...]:
        """What each number that the network reads is called."""
        if self.features is None:
            return self.read
        return tuple(name for feature in self.features for name in feature.names)

    @property
    def plan(self) -> str:
        """ "12 columns read: 9 numbers, 3 categories; predicts: price"."""
        kinds: list[str] = [f.kind for f in self.features or ()] or ["number"] * self.count
        words = {"number": "numbers", "category": "categories", "boolean": "booleans"}
        counts = {kind: kinds.count(kind) for kind in words}
        told = [f"{n} {kind if n == 1 else words[kind]}" for kind, n in counts.items() if n]
        columns = "1 column" if self.count == 1 else f"{self.count} columns"
        return f"{columns} read: {', '.join(told)}; predicts: {self.label or 'prediction'}"

    @property
    def titled(self) -> bool:
        """Whether the columns have names of their own."""
        return self.header is not None and not all(
            name == f"column {k + 1}" for k, name in enumerate(self.header)
        )

    def to_words(self) -> dict[str, Any]:
        """As JSON values."""
        if self.width > MOST:
            return {"version": VERSION, "name": self.name, "width": self.width}
        words = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return {"version": VERSION, **words}

    @classmethod
    def from_words(cls, words: Mapping[str, Any]) -> Description:
        """ValueError for another version, or for words that are no description."""
        if words.get("version") != VERSION:
            raise ValueError(
                f"its description of the data has version {words.get('version')!r}, this gpunet "
                f"reads {VERSION}: use the gpunet that wrote it, or train again"
            )
        if words.keys() == {"version", "name", "width"}:
            raise ValueError(
                f"it was trained on rows of {words['width']:,} numbers; a model file tells how "
                f"rows are prepared for up to {MOST:,}"
            )
        try:
            return cls._read(words)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"its description of the data is damaged ({error!r})") from None

    @classmethod
    def _read(cls, words: Mapping[str, Any]) -> Description:
        found = {field.name: words[field.name] for field in fields(cls)}
        for name in ("classes", "columns", "header"):
            found[name] = None if found[name] is None else tuple(map(str, found[name]))
        found["shape"] = None if found["shape"] is None else tuple(map(int, found["shape"]))
        for name in ("scale", "shift", "target_shift"):
            found[name] = _numbers(found[name])
        found["target_scale"] = float(found["target_scale"])
        if found["features"] is not None:
            found["features"] = tuple(_feature(one) for one in found["features"])
        whole = cls(**found)
        whole._check()
        return whole

    def _check(self) -> None:
        """ValueError where numbers and names do not fit together."""
        if self.features is not None and self.width != sum(len(f.names) for f in self.features):
            raise ValueError("width")
        if not {np.shape(self.scale), np.shape(self.shift)} <= {(), (self.width,)}:
            raise ValueError("scale")
        if self.columns is not None and len(self.columns) != self.count:
            raise ValueError("columns")
        if self.header is not None and not set(self.columns or ()) <= set(self.header):
            raise ValueError("header")
        if self.shape is not None and math.prod(self.shape) != self.width:
            raise ValueError("shape")


def _numbers(given: Any) -> float | Float64:
    found = np.array(given, np.float64) if isinstance(given, list) else float(given)
    if not np.isfinite(found).all():
        raise ValueError("numbers that are not finite")
    return found


def _feature(words: Mapping[str, Any]) -> Feature:
    found = Feature(**{**words, "values": tuple(map(str, words["values"]))})
    if found.kind not in ("number", "boolean", "category"):
        raise ValueError(f"features of kind {found.kind!r}")
    if isinstance(found.fill, str) != (found.kind == "category") or not found.names:
        raise ValueError(f"{found.fill!r} for a {found.kind}")
    if not isinstance(found.fill, str):
        _numbers(found.fill)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [one.config() if isinstance(one, Feature) else one for one in value]
    return value
