"""What a Predictor does around its network, as ONNX nodes: raw rows go in, in the data's words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from gpunet.data.cells import MISSING
from gpunet.data.description import Description
from gpunet.data.features import Feature
from gpunet.exchange.graph import ML, Graph

INPUT = "x"


def prepare(
    graph: Graph, about: Description, given: np.dtype[Any], dtype: Any, output: str
) -> None:
    """Nodes from the inputs to what the network is given: "x" (batch, columns) where all columns
    are numbers, else one (batch, 1) for each, of its name: numbers, nan where one is missing and 1
    or 0 for yes or no, or text, "" where it is missing.
    """
    if about.features is None:
        graph.input(INPUT, given, about.width)
        graph.cast(np.float64)
    else:
        taken = {output}
        parts = [_encoded(graph, f, given, _free(f.name, taken)) for f in about.features]
        graph.join("Concat", [name for part in parts for name in part], axis=1)
    graph.node("Sub", np.asarray(about.shift, np.float64))
    graph.node("Div", np.asarray(about.scale, np.float64))
    graph.cast(dtype)


def answer(graph: Graph, about: Description) -> None:
    """Nodes from the network's outputs to numbers in the target's unit, float64; logits stay."""
    if about.classes is None:
        graph.cast(np.float64)
        graph.node("Mul", np.float64(about.target_scale))
        graph.node("Add", np.asarray(about.target_shift, np.float64))


def words(about: Description) -> dict[str, str]:
    """Metadata: what is predicted, the classes in the order of the outputs, the columns."""
    found: dict[str, Any] = {"label": about.label, "classes": about.classes}
    found["columns"] = about.columns
    return {name: json.dumps(value) for name, value in found.items() if value is not None}


def _free(name: str, taken: set[str]) -> str:
    """The name, or one like it that nothing has."""
    while name in taken or name.startswith("/"):
        name += "_"
    taken.add(name)
    return name


def _encoded(graph: Graph, feature: Feature, given: np.dtype[Any], name: str) -> list[str]:
    """The values, (batch, 1) or (batch, K) in float64, that a column becomes."""
    if feature.kind == "category":
        missing = _category(graph, feature, name)
    else:
        missing = _number(graph, feature, given, name)
    graph.cast(np.float64)
    found = graph.last
    if not feature.flag:
        return [found]
    graph.last = missing
    graph.cast(np.float64)
    return [found, graph.last]


def _number(graph: Graph, feature: Feature, given: np.dtype[Any], name: str) -> str:
    """`last` is the number or what fills it; returned is the name of whether it is missing."""
    graph.input(name, given, 1)
    graph.cast(np.float64)
    number = graph.last
    graph.node("IsNaN")
    missing = graph.last
    graph.join("Where", [missing, graph.constant(np.float64(feature.fill)), number])
    return missing


def _category(graph: Graph, feature: Feature, name: str) -> str:
    """`last` has a column for each name; returned is the name of whether it is missing."""
    places = {value: k for k, value in enumerate(feature.values)}
    gaps = {text for word in MISSING for text in (word, word.upper(), word.capitalize())}
    filled = dict.fromkeys(sorted(gaps - places.keys()), places.get(str(feature.fill), len(places)))
    graph.input(name, str, 1)
    _numbered(graph, dict.fromkeys(filled, 1), 0)
    missing = graph.last
    graph.last = name
    _numbered(graph, {**places, **filled}, len(places))
    graph.node("Equal", np.arange(len(places) + feature.other))
    return missing


def _numbered(graph: Graph, places: dict[str, int], other: int) -> None:
    """Text as whole numbers."""
    graph.node(
        "LabelEncoder",
        domain=ML,
        keys_strings=list(places),
        values_int64s=list(places.values()),
        default_int64=other,
    )
