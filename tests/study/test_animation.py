"""gpunet.study.animation: the page on its own, and at work in headless Chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.study.animation import animation, save_animation
from gpunet.study.contours import levels
from gpunet.study.landscapes import LANDSCAPES
from gpunet.study.paths import descend, longest_first

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--window-size=900,900",
    "--virtual-time-budget=20000",
]

# Runs in the page: what a reader does, and what is then to be seen.
VISIT = """
const found = {};
const wait = time => new Promise(done => setTimeout(done, time));
const picture = () => get("picture").toDataURL();
const look = () => ({step: Number(get("slider").value), count: get("count").textContent,
  heights: data.paths.map((_, k) => get("height" + k).textContent), button: get("play").textContent,
  at: get("at0").textContent});
const press = key => document.body.dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
async function visit() {
  found.opened = look();
  const whole = picture();
  get("speed").value = "4";
  get("play").click();
  found.started = look();
  const start = picture();
  await wait(400);
  found.playing = look();
  found.moved = picture() !== start;
  get("play").click();
  found.paused = look();
  await wait(400);
  found.stillPaused = look();
  get("slider").value = 7;
  get("slider").dispatchEvent(new Event("input"));
  found.slid = look();
  const seventh = picture();
  get("forward").click(); found.forward = look();
  get("back").click(); found.back = look();
  found.same = picture() === seventh;
  found.boxes = data.paths.map((_, k) => {
    get("show" + k).click();
    const without = picture();
    get("show" + k).click();
    return without !== seventh && picture() === seventh;
  });
  press("End"); found.end = look(); found.whole = picture() === whole;
  press("ArrowLeft"); found.left = look();
  press("Home"); found.home = look();
  press("ArrowRight"); found.right = look();
  press(" "); await wait(300); found.space = look();
  press(" ");
  press("End");
  press(" ");
  await wait(9000); found.over = look();
  const theme = document.documentElement.dataset.theme;
  get("theme").click();
  found.themes = [theme, document.documentElement.dataset.theme];
  found.repainted = picture() !== whole;
}
visit().catch(error => problems.push("visit: " + error)).finally(() => {
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify({...found, problems});
  document.body.append(out);
});
"""
WATCH = """const problems = [];
addEventListener("error", event => problems.push(event.message));
addEventListener("unhandledrejection", event => problems.push(String(event.reason)));
addEventListener("securitypolicyviolation", event => problems.push(event.blockedURI));"""
NO_NETWORK = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'\">"
)
NAMES = ("sgd", "momentum", "adam", "cocob")


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium: apt-get install chromium")


def page_data(page: str) -> dict[str, Any]:
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert text
    data: dict[str, Any] = json.loads(text[1])
    return data


def visited(page: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What VISIT found in the page, and the lines of the browser's console."""
    page = page.replace("<head>", f"<head>{NO_NETWORK}<script>{WATCH}</script>", 1)
    page = page.replace("</body>", f"<script>{VISIT}</script></body>", 1)
    (folder / "page.html").write_text(page, encoding="utf-8")
    command = [chromium(), *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, (folder / "page.html").as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert text, f"the page did not finish: {done.stdout[-500:]}{done.stderr[-500:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(text[1])), console


@pytest.mark.parametrize("name", ["bowl", "sinc"])
def test_a_reader_plays_pauses_steps_slides_and_switches(name: str, tmp_path: Path) -> None:
    landscape = LANDSCAPES[name]
    paths = [descend(landscape, k) for k in NAMES]
    last = landscape.steps
    found, console = visited(animation(landscape, paths), tmp_path)
    assert found["problems"] == []
    assert console == []

    assert found["opened"]["step"] == last  # opens with the whole paths
    assert found["opened"]["count"] == f"step {last} of {last}"
    ends = [float(text) for text in found["opened"]["heights"]]
    assert ends == pytest.approx([path.values[-1] for path in paths], rel=1e-3)

    assert found["started"]["step"] == 0  # play begins anew from the end
    assert "Pause" in found["started"]["button"]
    assert 0 < found["playing"]["step"] < last
    assert found["moved"]
    assert found["paused"] == found["stillPaused"]
    assert "Play" in found["paused"]["button"]

    assert found["slid"]["step"] == 7
    heights = [float(text) for text in found["slid"]["heights"]]
    assert heights == pytest.approx([path.values[7] for path in paths], rel=1e-3)
    place = [float(text) for text in re.findall(r"[-\d.e]+", found["slid"]["at"])]
    assert place == pytest.approx(paths[0].points[7], rel=1e-3)
    assert [found[k]["step"] for k in ("forward", "back")] == [8, 7]
    assert found["same"]
    assert found["boxes"] == [True] * len(paths)

    steps = [found[k]["step"] for k in ("end", "left", "home", "right")]
    assert steps == [last, last - 1, 0, 1]
    assert found["whole"]
    assert found["space"]["step"] > 1
    assert found["over"]["step"] == last  # it ends by itself
    assert "Play" in found["over"]["button"]
    assert sorted(found["themes"]) == ["dark", "light"]
    assert found["repainted"]


def test_the_visit_would_tell_of_an_error(tmp_path: Path) -> None:
    bowl = LANDSCAPES["bowl"]
    page = animation(bowl, [descend(bowl, "sgd")])
    broken = page.replace("function go(to) { ", "function go(to) { console.log(to); nothing(); ")
    assert broken != page
    found, console = visited(broken, tmp_path)
    assert any("nothing is not defined" in problem for problem in found["problems"])
    assert console


def test_a_path_that_diverged_is_told_and_keeps_its_last_point(tmp_path: Path) -> None:
    bowl = LANDSCAPES["bowl"]
    paths = [descend(bowl, "sgd", lr=3.0, steps=300), descend(bowl, "adam", steps=300)]
    found, console = visited(animation(bowl, paths), tmp_path)
    assert found["problems"] == console == []
    assert found["opened"]["heights"][0] == "diverged after 220"
    assert found["slid"]["at"].startswith("outside (")


@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_page_holds_paths_and_ground(name: str) -> None:
    landscape = LANDSCAPES[name]
    paths = [descend(landscape, k, steps=20) for k in NAMES]
    data = page_data(animation(landscape, paths))
    assert data["steps"] == 20
    assert [paths[k] for k in data["order"]] == longest_first(paths)
    for path, shown in zip(paths, data["paths"], strict=True):
        np.testing.assert_allclose(shown["points"], path.points, rtol=1e-4)
        np.testing.assert_allclose(shown["values"], path.values, rtol=1e-4)
    heights = np.array(data["heights"])
    if landscape.dim == 2:
        (left, right), (low, _) = landscape.window
        assert heights.size == data["columns"] * data["rows"]
        assert heights[0] == pytest.approx(landscape.value((left, low)), rel=1e-4)
        assert heights[data["columns"] - 1] == pytest.approx(
            landscape.value((right, low)), rel=1e-4
        )
        np.testing.assert_allclose(data["levels"], levels(heights), rtol=1e-3, atol=1e-3)
    else:
        assert heights[0] == pytest.approx(landscape.value((landscape.window[0][0],)), rel=1e-4)
        low, high = data["range"]
        assert low < heights.min() < heights.max() < high


@pytest.mark.parametrize("name", ["bowl", "sinc"])
def test_the_page_needs_nothing_from_outside(name: str, tmp_path: Path) -> None:
    landscape = LANDSCAPES[name]
    save_animation(landscape, [descend(landscape, "sgd")], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert not re.search(r"https?:|//\w+\.\w|@import|fetch\(|XMLHttpRequest|\bimport\b", page)
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,"]
    assert "{{" not in page
    assert len(page) < 200_000


def test_texts_cannot_break_out_of_the_page() -> None:
    from dataclasses import replace

    nasty = "</script><script>alert(1)</script>{{data}}"
    landscape = replace(LANDSCAPES["abs"], formula=nasty)
    page = animation(landscape, [descend(landscape, "sgd", steps=3)])
    assert "<script>alert" not in page
    assert page_data(page)["formula"] == nasty


def test_an_animation_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one path"):
        animation(LANDSCAPES["bowl"], [])
