"""gpunet.study.pictures: titles of any words."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from gpunet.study import pictures

pytest.importorskip("matplotlib", reason="needs the plot extra")

NAMES = {
    "formula": "costs $x^{5$ and $6.csv",
    "Korean": "학습.csv",
    "taken apart": "\u1112\u1161\u11a8\u1109\u1173\u11b8.csv",
    "CP949": "\udcc7\udcd0.csv",
    "control": "a\nb\x1b[31m\x7f.csv",
    "nobody's": "\U000f0000 \U0010fffd",
    "mixed": "데이터 $α$ 🙂 日本 <&>",
    "empty": "",
}


@pytest.mark.parametrize("name", NAMES)
def test_any_title_is_drawn_without_a_word(name: str) -> None:
    figure = pictures.new_figure(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.entitle(figure, NAMES[name])
        for ending in pictures.FORMATS:
            assert pictures.encode_figure(figure, ending)


def test_what_the_usual_font_lacks_is_taken_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    def title(words: str) -> tuple[Any, str]:
        figure = pictures.new_figure(3, 2)
        pictures.entitle(figure, words)
        (text,) = figure.texts
        return text.get_fontfamily(), text.get_text()

    assert title("plain") == (["sans-serif"], "plain")
    entry = font_manager.FontEntry(fname="a file", name="Nanum Test")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [entry])
    true = pictures._has

    def has(font: str, characters: Any) -> set[str]:
        return set(characters) & set("학") if font == "a file" else true(font, characters)

    monkeypatch.setattr(pictures, "_has", has)
    assert title("학 습 a") == (["sans-serif", "Nanum Test"], "학 □ a")
