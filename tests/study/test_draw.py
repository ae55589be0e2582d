"""gpunet.draw: what is on the picture is what was computed, nothing overlaps, and it folds."""

from __future__ import annotations

import gc
import html
import itertools
import json
import re
import shutil
import subprocess
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.study import draw as drawing
from gpunet.study.draw import draw
from gpunet.study.graph import NO_GRADIENTS, UNWATCHED, Card, Group, graph_of
from gpunet.study.layering import crossings, longest_paths, order
from gpunet.study.placing import Box, Placing
from gpunet.study.watch import saved_arrays, watching

SPACE = "{http://www.w3.org/2000/svg}"


class Residual(gn.Layer):
    def __init__(self, features: int) -> None:
        self.first, self.relu = gn.Affine(features, features), gn.ReLU()
        self.second = gn.Affine(features, features)

    def call(self, x: gn.Tensor) -> gn.Tensor:
        return x + self.second(self.relu(self.first(x)))


class Branches(gn.Layer):
    """Two towers of different heights, a skip over several rows, a weight that is read twice."""

    def __init__(self) -> None:
        self.left = gn.Sequential(gn.Affine(6, 4), gn.Tanh())
        self.right = gn.Sequential(gn.Affine(6, 4), gn.Sigmoid(), gn.Affine(4, 4))
        self.blocks = gn.Sequential(Residual(4), Residual(4))
        self.out = gn.Affine(4, 3)

    def call(self, x: gn.Tensor) -> gn.Tensor:
        a, b = self.left(x), self.right(x)
        return self.out(self.blocks(a * b) + a)


def arrays(device: str = "cpu", rows: int = 5) -> tuple[Any, Any]:
    generator = np.random.default_rng(3)
    x = generator.standard_normal((rows, 6)).astype(np.float32)
    return gn.to_device(x, device), gn.to_device(generator.integers(0, 3, rows), device)


def branched(watched: bool = True) -> gn.Tensor:
    gn.seed(0)
    model, (x, t) = Branches(), arrays()
    with watching() if watched else nullcontext():
        loss = gn.SoftmaxWithLoss()(model(x), t) + (model.out.W * model.out.W).sum() * 0.01
    loss.backward()
    return loss


def mlp(depth: int = 2, device: str = "cpu", watched: bool = True) -> tuple[gn.MLP, gn.Tensor]:
    gn.seed(0)
    model, (x, t) = gn.MLP([6, *[5] * (depth - 1), 3]), arrays(device)
    model.to(device)
    if not watched:
        return model, gn.SoftmaxWithLoss()(model(x), t)
    with watching():
        return model, gn.SoftmaxWithLoss()(model(x), t)


def outline(group: Group) -> list[Any]:
    """Titles, groups as (title, [...]), leaves beside a card as title(leaf, leaf)."""

    def said(card: Card) -> str:
        return card.title + (f"({', '.join(s.title for s in card.sides)})" if card.sides else "")

    return [
        (child.title, outline(child)) if isinstance(child, Group) else said(child)
        for child in group.children
    ]


def numbers_in(card: Card, name: str) -> list[float]:
    words = next(w for kind, w in card.lines if kind == "numbers" and w.startswith(name))
    return [float(v.replace("−", "-")) for v in words.split()[1:]]


# --- what there is to see -------------------------------------------------------------------------


def test_ops_lie_in_their_layers(device: str) -> None:
    _, loss = mlp(device=device)
    assert outline(graph_of(loss).root) == [
        ("MLP", [("Affine 1", ["affine(W, b)"]), "ReLU", ("Affine 2", ["affine(W, b)"])]),
        "SoftmaxWithLoss(t)",
        "x",
    ]


def test_unwatched_ops_lie_in_their_layers_too() -> None:
    _, loss = mlp(watched=False)
    assert outline(graph_of(loss).root) == [
        ("MLP", [("Affine 1", ["affine(W, b)"]), "ReLU", ("Affine 2", ["affine(W, b)"])]),
        "SoftmaxWithLoss",
    ]


def test_layers_in_layers_and_ops_beside_them() -> None:
    block = ("Affine 4", ["affine(W, b)"]), "ReLU 1", ("Affine 5", ["affine(W, b)"]), "add"
    top = outline(graph_of(branched()).root)
    assert top[0][0] == "Branches"
    inside = top[0][1]
    assert inside[0] == ("Sequential 1", [("Affine 1", ["affine(W, b)"]), "Tanh"])
    assert inside[2] == "multiply"
    assert inside[3][1][0] == ("Residual 1", list(block))
    assert inside[4:] == ["add", ("Affine 8", ["affine(b)"])]  # its W is read outside too
    assert top[1:] == ["SoftmaxWithLoss(t)", "multiply", "sum", "multiply", "add", "x", "W"]


def test_one_layer_called_twice_and_an_input_handed_on() -> None:
    layer, relu = gn.Affine(3, 3), gn.ReLU()
    y = relu(layer(relu(layer(np.ones((2, 3), np.float32)))))
    titles = [child.title for child in graph_of(y).root.children]
    assert titles == ["Affine 1", "ReLU 1", "Affine 2", "ReLU 2", "W", "b"]
    dropout = gn.Dropout(0.5).eval()
    y = dropout(relu(gn.Tensor(np.ones((2, 3)), requires_grad=True)))
    assert outline(graph_of(y).root) == ["ReLU", "x"]


def test_numbers_are_those_of_the_arrays(device: str) -> None:
    model, loss = mlp(device=device)
    middle = loss.node.parents[0]
    loss.backward()
    cards = {card.title: card for card in graph_of(loss).root.cards()}
    affine = [c for c in graph_of(loss).root.cards() if c.title == "affine"][-1]
    for card, name, array in (
        (affine, "value", middle.record.value),
        (affine, "grad", middle.grad),
        (affine.sides[0], "value", model[2].W.data),
        (affine.sides[0], "grad", model[2].W.grad),
        (cards["x"], "value", arrays()[0]),
    ):
        host = to_host(array)
        wanted = [host.min(), host.mean(), host.max()]
        np.testing.assert_allclose(numbers_in(card, name), wanted, rtol=6e-3, atol=1e-6)
    assert numbers_in(cards["SoftmaxWithLoss"], "value") == pytest.approx([loss.item()], rel=5e-3)
    assert ("shape", "5×3 float32") in affine.lines
    assert ("saved", "keeps W 5×3, b 3, x 5×5") in affine.lines


def test_numbers_that_are_none_are_counted() -> None:
    x = gn.Tensor(np.array([1.0, np.nan, np.inf, -np.inf]), requires_grad=True)
    with watching():
        y = x * 2.0
    card = graph_of(y).root.children[0]
    assert isinstance(card, Card)
    assert [w for kind, w in card.lines if kind == "bad"] == [
        "value 1 of 4 are nan",
        "value 2 of 4 are infinite",
    ]


def test_numbers_among_the_inputs_are_named() -> None:
    x = gn.Tensor(np.ones(3), requires_grad=True)
    with watching():
        y = x**2.5
    card = graph_of(y).root.children[0]
    assert isinstance(card, Card)
    assert ("shape", "b = 2.5") in card.lines


def test_saved_arrays_are_found_in_closures() -> None:
    x, W = np.ones((4, 3)), np.ones((3, 2))
    _, backward = gn.functional.affine.pair(x, W)
    found = saved_arrays(backward)
    assert found.keys() == {"x", "W"}
    assert found["W"] is W
    assert saved_arrays(None) == {}

    def around() -> Any:
        return around, inner, x

    def inner() -> Any:
        return around, W

    assert saved_arrays(around).keys() == {"x", "W"}


# --- what is missing is told ----------------------------------------------------------------------


def picture(loss: gn.Tensor, path: Path, **options: Any) -> str:
    draw(loss, path, **options)
    ElementTree.parse(path)
    return html.unescape(" ".join(re.findall(r">([^<]+)</t", path.read_text("utf-8"))))


def told(text: str) -> tuple[bool, bool]:
    return NO_GRADIENTS in text, UNWATCHED[:60] in text


def test_before_and_after_backward(tmp_path: Path) -> None:
    path = tmp_path / "graph.svg"
    for watched in (True, False):
        _, loss = mlp(watched=watched)
        before = picture(loss, path)
        assert told(before) == (True, not watched)
        assert "grad " not in before.replace("and grad", "")
        assert "keeps y 5×5" in before
        loss.backward()
        after = picture(loss, path)
        assert told(after) == (False, not watched)
        assert len(re.findall(r"\bgrad +[−\d]", after)) == (8 if watched else 4)
        assert ("keeps y 5×5" in after) is watched


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    _, loss = mlp()
    with gn.no_grad():
        nothing = gn.MLP([6, 3])(arrays()[0])
    for leaf in (nothing, gn.Tensor(np.ones(3), requires_grad=True)):
        with pytest.raises(ValueError, match="nothing to draw"):
            draw(leaf, tmp_path / "graph.svg")
    with pytest.raises(ValueError, match=r"must end in \.svg"):
        draw(loss, tmp_path / "graph.png")
    with pytest.raises(ValueError, match="depth must be at least 0"):
        draw(loss, tmp_path / "graph.svg", depth=-1)
    with pytest.raises(FileNotFoundError):
        draw(loss, tmp_path / "missing" / "graph.svg")


def test_names_of_layers_are_escaped(tmp_path: Path) -> None:
    odd = type("A<b>&c", (gn.Affine,), {})
    text = picture(odd(2, 2)(np.ones((3, 2), np.float32)), tmp_path / "graph.svg")
    assert "A<b>&c" in text


# --- training pays nothing for it -----------------------------------------------------------------


def test_an_unwatched_tape_keeps_nothing() -> None:
    model, loss = mlp(watched=False)
    node = loss.node
    assert node is not None
    assert node.record is None
    assert not node.retain
    loss.backward()
    assert node.parents[0].grad is None
    assert model[0].W.grad is not None


def test_a_layer_goes_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        model = gn.MLP([6, 5, 3])
        model.forward(arrays()[0])  # it now holds its own graph
        gone = weakref.ref(model)
        del model
        assert gone() is None
    finally:
        gc.enable()


# --- layout ---------------------------------------------------------------------------------------


def test_rows_by_longest_path() -> None:
    assert longest_paths([1, 2, 3, 4], [(1, 2), (2, 3), (1, 3), (4, 3)]) == {1: 0, 2: 1, 3: 2, 4: 0}


def test_order_takes_crossings_away() -> None:
    rows = [[1, 2, 3], [4, 5, 6]]
    links = {1: {6}, 6: {1}, 2: {5}, 5: {2}, 3: {4}, 4: {3}}
    assert crossings(rows, links) == 3
    order(rows, links)
    assert crossings(rows, links) == 0


def pictures_of(loss: gn.Tensor) -> list[tuple[Any, Placing]]:
    """The picture, all open, and folded in several ways."""
    whole = drawing._Picture(graph_of(loss), loss, None)
    ways = [set(), set(whole.folded), *({key} for key in whole.folded)]
    found = []
    for closed in ways:
        args = (whole.layout, whole.root, whole.boxes, whole.folded, closed)
        found.append((whole, Placing(*args)))
    return found


def inside(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]


def apart(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def corners(placing: Placing, key: int) -> tuple[float, ...]:
    (x, y), box = placing.at[key], placing.boxes[key]
    return x - box.left, y, x + box.right, y + box.height


LOSSES = {"branches": branched, "20 layers": lambda: mlp(20)[1]}


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_overlaps_and_no_edge_runs_through_a_card(name: str) -> None:
    for whole, placing in pictures_of(LOSSES[name]()):
        shown = [k for k in (*whole.boxes, *whole.folded) if k in placing.at]
        places = {k: corners(placing, k) for k in shown}
        solid = [k for k in shown if k in whole.boxes or k in placing.closed]
        for a, b in itertools.combinations(solid, 2):
            assert apart(places[a], places[b])
        for k in shown:
            parent = whole.layout.parents[k]
            assert parent == whole.root or inside(places[k], places[parent])
        for way in whole.layout.ways:
            ends = {placing._visible(way[0]), placing._visible(way[-1])}
            for x, y in points(placing.path(way)):
                for k in solid:
                    left, top, right, bottom = places[k]
                    within = left < x < right and top < y < bottom
                    assert k in ends or not within, (way, k)


def points(path: str) -> list[tuple[float, float]]:
    """Places along path data of M, V and C."""
    found: list[tuple[float, float]] = []
    for kind, words in re.findall(r"([MVC])([^MVC]*)", path):
        n = [float(v) for v in words.split()]
        if kind == "C":
            x, y = found[-1]
            for s in np.linspace(0, 1, 21):
                bend = [(1 - s) ** 3, 3 * s * (1 - s) ** 2, 3 * s * s * (1 - s), s**3]
                found.append(
                    (float(np.dot(bend, [x, *n[::2]])), float(np.dot(bend, [y, *n[1::2]])))
                )
        else:
            start = found[-1] if found else (n[0], n[-1])
            x = n[0] if kind == "M" else start[0]
            found += [(x, float(y)) for y in np.linspace(start[1], n[-1], 15)]
    return found


def test_cards_are_wide_enough_and_leaves_stand_apart() -> None:
    whole, placing = pictures_of(mlp()[1])[0]
    for card in whole.cards:
        width, height = drawing._size(card)
        assert width >= max(len(words) for _, words in card.lines) * 0.6 * drawing.SMALL
        assert isinstance(placing.boxes[card.key], Box)
        assert placing.boxes[card.key].height >= height


def test_depth_folds_at_the_start(tmp_path: Path) -> None:
    _, loss = mlp()
    for depth, open_ones in ((0, 0), (1, 1), (2, 3), (None, 3)):
        draw(loss, tmp_path / "graph.svg", depth=depth)
        text = (tmp_path / "graph.svg").read_text("utf-8")
        assert text.count('aria-expanded="true"') == open_ones
        assert text.count('class="group shut"') == 3 - open_ones


# --- in a browser ---------------------------------------------------------------------------------

CLICKS = """
const seen = [];
function look(what) {
  const places = {};
  for (const key of [...Object.keys(cards), ...Object.keys(folded)]) {
    const element = document.getElementById("i" + key);
    if (getComputedStyle(element).display !== "none")
      places[key] = element.getAttribute("transform");
  }
  const paths = ways.map((way, k) => document.getElementById("e" + k).getAttribute("d"));
  const size = document.documentElement.getAttribute("viewBox");
  seen.push({ what, closed: [...isClosed], places, paths, size });
}
function click(element) {
  element.dispatchEvent(new MouseEvent("click", { bubbles: true }));
}
try {
  look("as it came");
  place();
  look("placed anew");
  const toggles = [...document.querySelectorAll(".toggle")];
  click(toggles[toggles.length - 1]);
  look("one folded");
  toggles[toggles.length - 1].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  look("unfolded by the keyboard");
  click(document.getElementById("fold-all"));
  look("all folded");
  click(toggles[0]);
  look("the outer one unfolded");
  click(document.getElementById("unfold-all"));
  look("all unfolded");
} catch (error) {
  seen.push({ error: String(error) });
}
const result = document.createElementNS("http://www.w3.org/2000/svg", "desc");
result.textContent = JSON.stringify(seen);
document.documentElement.append(result);
"""


def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium")


def dumped(path: Path, profile: Path) -> str:
    """The document after its scripts have run."""
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}", "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run(
        [browser(), *flags, path.as_uri()], capture_output=True, text=True, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize("depth", [None, 1])
def test_it_folds_in_a_browser_as_python_would_lay_it_out(depth: Any, tmp_path: Path) -> None:
    loss = branched()
    draw(loss, tmp_path / "graph.svg", depth=depth)
    text = (tmp_path / "graph.svg").read_text("utf-8")
    assert text.count("]]></script>") == 1
    (tmp_path / "clicked.svg").write_text(text.replace("]]></script>", CLICKS + "]]></script>"))
    found = dumped(tmp_path / "clicked.svg", tmp_path / "profile")
    seen = json.loads(html.unescape(re.findall("<desc>(.*)</desc>", found, re.DOTALL)[-1]))
    assert [look.get("error", "") for look in seen] == [""] * 7
    whole = drawing._Picture(graph_of(loss), loss, depth)
    groups = set(whole.folded)
    assert set(seen[0]["closed"]) == whole.closed
    assert len(set(seen[2]["closed"]) ^ whole.closed) == 1
    assert set(seen[3]["closed"]) == whole.closed
    assert set(seen[4]["closed"]) == groups
    assert len(groups - set(seen[5]["closed"])) == 1
    assert seen[6]["closed"] == []
    assert seen[0]["paths"] == seen[1]["paths"]
    sizes = [[float(v) for v in seen[k]["size"].split()] for k in (0, 1)]
    assert sizes[0] == pytest.approx(sizes[1], abs=0.02)
    for look in seen:
        args = (whole.layout, whole.root, whole.boxes, whole.folded, set(look["closed"]))
        same_layout(look, Placing(*args), whole)


def same_layout(look: dict[str, Any], placing: Placing, whole: Any) -> None:
    shown = {k for k in (*whole.boxes, *whole.folded) if k in placing.at}
    assert {int(k) for k in look["places"]} == shown, look["what"]
    around = placing.boxes[whole.root]
    shift = max(0.0, drawing.LEAST - around.left - around.right) / 2
    for key, transform in look["places"].items():
        x, y = (float(v) for v in re.findall(r"-?[\d.]+", transform))
        assert (x, y) == pytest.approx(
            (placing.at[int(key)][0] + shift, placing.at[int(key)][1]), abs=0.02
        ), look["what"]
    for way, path in zip(whole.layout.ways, look["paths"], strict=True):
        mine, its = points(placing.path(way)), points(path)
        assert len(mine) == len(its), look["what"]
        if mine:
            moved = np.array(mine) + np.array([shift, 0])
            np.testing.assert_allclose(np.array(its), moved, atol=0.11, err_msg=look["what"])
