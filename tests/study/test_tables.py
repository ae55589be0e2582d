"""gpunet.study.tables: words to the left, numbers to the right, what to notice below."""

from __future__ import annotations

from gpunet.study.tables import Table, report

TABLE = Table("Title", ("name", "x"), [("a", 0.123456), ("long", 12)], "Look.", digits=3)


def test_as_text() -> None:
    assert str(TABLE) == "Title\n  name      x\n  a     0.123\n  long     12\nLook."
    assert report([TABLE, Table("T", ("n",), [("b",)])]).endswith("Look.\n\nT\n  n\n  b")


def test_as_html() -> None:
    assert "<td style='text-align:left'>0.123</td>" in TABLE._repr_html_()
