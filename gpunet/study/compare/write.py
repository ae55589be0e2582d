"""Everything that a comparison leaves in its folder."""

from __future__ import annotations

from pathlib import Path

from gpunet.files import write_atomically
from gpunet.study import pictures
from gpunet.study.compare import table
from gpunet.study.compare.charts import save_pictures
from gpunet.study.compare.comparison import Comparison
from gpunet.study.compare.report import About, render
from gpunet.study.compare.verdict import Verdict


def write(comparison: Comparison, verdict: Verdict, about: About, folder: Path) -> list[Path]:
    """report.html, table.csv, runs.csv and, with matplotlib, compare.png and compare.svg."""
    files = {
        "report.html": render(comparison, verdict, about).encode(),
        "table.csv": table.to_csv(table.rows(comparison)),
        "runs.csv": table.to_csv(table.run_rows(comparison)),
    }
    for name, content in files.items():
        write_atomically(folder / name, content)
    drawn = save_pictures(comparison, about.title, folder) if pictures.can_plot() else []
    return [*(folder / name for name in files), *drawn]
