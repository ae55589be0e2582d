"""The report: one file, nothing from outside can break out of its place, and it works in a real
browser.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from gpunet.optim import OPTIMIZERS
from gpunet.study.compare.comparison import compare
from gpunet.study.compare.grid import Setup
from gpunet.study.compare.report import About, _embedded, render
from gpunet.study.compare.runs import Result
from gpunet.study.compare.verdict import judge
from gpunet.study.styles import SHOWN

Make = Callable[..., Result]
NAMES = [kind.__name__ for kind in OPTIMIZERS.values()]
EVIL = "</script><script>alert(1)</script>&\"'{{css}}"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
    "--window-size=1000,2600",
    "--dump-dom",
]


def report(make: Make, data: str = "digits", planned: int = 0) -> str:
    """Every optimizer at two learning rates with two seeds; RProp diverges."""
    results = [
        make(
            name,
            None if name == "cocob" else lr,
            seed,
            loss=0.3 + k / 50 + seed / 10 + lr / 100,
            train=(2.0, 3.0, 3.0) if name == "rprop" else (2.0, 1.0, 0.5),
            nonfinite=(1, 2, EVIL) if name == "rprop" else None,
        )
        for k, name in enumerate(OPTIMIZERS)
        for lr in ((0.1,) if name == "cocob" else (0.1, 1.0))
        for seed in (0, 1)
    ]
    setup = Setup(epochs=2)
    comparison = compare(results, planned or len(results))
    return render(
        comparison, judge(comparison, setup, 200), About(data, 100, 200, [4, 3, 2], setup)
    )


def embedded(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert found is not None
    return json.loads(found[1], parse_constant=pytest.fail)


def test_numbers_are_in_the_file(make: Make) -> None:
    data = embedded(report(make))
    assert sorted(o["name"] for o in data["optimizers"]) == sorted(NAMES)
    adam = next(o for o in data["optimizers"] if o["name"] == "Adam")
    assert [p["x"] for p in adam["curves"]["valid_loss"]] == [0, 1, 2]
    assert [p["x"] for p in adam["rates"]] == [0.1, 1]
    assert next(o for o in data["optimizers"] if o["name"] == "RProp")["rates"][0]["diverged"] == 2


def test_it_asks_for_nothing_outside(make: Make) -> None:
    class Links(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [f"{tag} {n}" for n, _ in attrs if n in ("src", "href", "srcset")]
            assert tag not in ("link", "img", "iframe", "object", "embed", "base")

    links = Links()
    links.found = []
    html = report(make)
    links.feed(html)
    assert links.found == []
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest", html)
    assert "default-src 'none'" in html


def test_nothing_from_outside_breaks_out(make: Make) -> None:
    plain, evil = report(make), report(make, data=EVIL)
    assert evil.count("<script") == plain.count("<script") == 2
    assert "alert(1)</script>" not in evil
    assert evil.count("{{css}}") == 2 + plain.count("{{css}}"), "put in as it is, not replaced"
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in evil


def test_embedded_json_cannot_end_its_element() -> None:
    text = _embedded({"name": EVIL})
    assert "<" not in text
    assert json.loads(text) == {"name": EVIL}


def test_partial_says_so(make: Make) -> None:
    assert "Partial: 62 of 99 runs" in report(make, planned=99)
    assert "Partial:" not in report(make)


DRIVER = """
<script>
addEventListener("error", (e) => found.errors.push(e.message));
const found = { errors: [] };
const lines = (id) => [...document.querySelectorAll(`#${id} g[data-optimizer]`)]
  .filter((g) => g.querySelector("path.series").getAttribute("d").length > 10)
  .map((g) => g.dataset.optimizer).sort();
const all = () => ["curves", "rates"].map(lines);
const box = (name) => document.querySelector(`.chips input[value="${name}"]`);
const press = (key) => document.querySelector("#curves svg")
  .dispatchEvent(new KeyboardEvent("keydown", { key }));
const one = (what) => document.querySelector(what);
const tip = (id) => one(`#${id} .tip`).hidden ? null : one(`#${id} .tip`).innerText;
const rows = () => [...document.querySelectorAll(".numbers tbody tr")];
const column = (k) => rows().map((row) => row.cells[k].innerText);
const path = (id) => one(`#${id} g[data-optimizer="SGD"] path`).getAttribute("d");
addEventListener("load", () => setTimeout(() => {
  try {
    found.start = all();
    const show = (kind) => document.querySelector(`[data-show=${kind}]`).click();
    show("all"); found.every = all();
    box("Adam").click(); found.without = all();
    box("Adam").click(); found.again = all();
    show("none"); found.none = all();
    show("leads"); found.leads = all()[0];
    show("all");
    const log = path("curves");
    document.getElementById("curves-log").click();
    found.paths = [log, path("curves")];
    const measure = document.getElementById("measure");
    const before = path("curves");
    measure.value = "valid_error"; measure.dispatchEvent(new Event("change"));
    found.measure = path("curves") !== before && lines("curves").length;
    const rates = document.querySelector("#rates svg"), place = rates.getBoundingClientRect();
    rates.dispatchEvent(new PointerEvent("pointermove",
      { clientX: place.left + 60, clientY: place.top + place.height / 2 }));
    found.hover = tip("rates");
    press("ArrowRight"); press("Home"); press("ArrowRight"); press("ArrowDown");
    found.keys = tip("curves");
    found.picked = document.querySelectorAll("#curves path.strong").length;
    press("Escape"); found.gone = tip("curves");
    const heads = document.querySelectorAll("thead button");
    heads[2].click(); found.up = column(2);
    heads[2].click(); found.down = column(2);
    heads[1].click(); found.last = column(1).at(-1);
    heads[0].click(); found.names = column(0);
    found.wide = document.documentElement.scrollWidth <= innerWidth;
  } catch (e) { found.errors.push(String(e.stack)); }
  const out = document.createElement("pre");
  out.id = "found"; out.textContent = JSON.stringify(found); document.body.append(out);
}, 100));
</script></body>
"""


@pytest.fixture(scope="module")
def browsed(make: Make, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What a script that uses the report saw, and what the browser logged."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "report.html"
    page.write_text(report(make, data=EVIL).replace("</body>", DRIVER), "utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    result = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert result is not None, done.stderr
    return json.loads(result[1].replace("&lt;", "<").replace("&gt;", ">")), done.stderr


def test_the_browser_complains_of_nothing(browsed: tuple[dict[str, Any], str]) -> None:
    found, log = browsed
    assert found["errors"] == []
    assert [line for line in log.splitlines() if "CONSOLE" in line] == []


def test_every_curve_is_there_and_can_be_switched(browsed: tuple[dict[str, Any], str]) -> None:
    found, _ = browsed
    names = sorted(NAMES)
    assert all(len(shown) == SHOWN for shown in found["start"])
    assert found["every"] == [names, names]
    without = [name for name in names if name != "Adam"]
    assert found["without"] == [without, without]
    assert found["again"] == [names, names]
    assert found["none"] == [[], []]
    assert "SGD" in found["leads"]
    assert "RProp" not in found["leads"]
    assert found["measure"] == len(names)


def test_the_logarithmic_scale_is_one(browsed: tuple[dict[str, Any], str], make: Make) -> None:
    """Distances go with the ratios of the values, or with their differences."""
    sgd = next(o for o in embedded(report(make))["optimizers"] if o["name"] == "SGD")
    a, b, c = (p["y"] for p in sgd["curves"]["valid_loss"])
    shares = math.log(a / b) / math.log(b / c), (a - b) / (b - c)
    for text, share in zip(browsed[0]["paths"], shares, strict=True):
        x, y, z = (float(pair.split(",")[1]) for pair in text[1:].split("L"))
        assert (y - x) / (z - y) == pytest.approx(share, rel=0.01)


def test_values_are_read_by_pointer_and_keys(browsed: tuple[dict[str, Any], str]) -> None:
    found, _ = browsed
    assert found["hover"].startswith("learning rate 0.1")
    assert "2 of 2 diverged" in found["hover"]
    assert all(name in found["hover"] for name in NAMES)
    assert found["keys"].startswith("epoch 1")
    assert found["picked"] == 1
    assert found["gone"] is None


def test_the_table_sorts(browsed: tuple[dict[str, Any], str]) -> None:
    found, _ = browsed
    losses = [float(text.split()[0]) for text in found["up"]]
    assert losses == sorted(losses)
    assert found["down"] == found["up"][::-1]
    assert found["last"] == "-", "COCOB's learning rate is none"
    names = [text.split()[0] for text in found["names"]]
    assert names == sorted(NAMES, key=str.lower)
    assert found["wide"] is True
