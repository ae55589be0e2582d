"""Everything that a comparison leaves in its folder."""

from __future__ import annotations

from gpunet.outputs import Outputs
from gpunet.study import pictures
from gpunet.study.compare import table
from gpunet.study.compare.charts import encode_comparison
from gpunet.study.compare.comparison import Comparison
from gpunet.study.compare.report import About, render
from gpunet.study.compare.verdict import Verdict

FILES = ("report.html", "table.csv", "runs.csv", "compare.png", "compare.svg")


def write(comparison: Comparison, verdict: Verdict, about: About, out: Outputs) -> list[str]:
    """`FILES`, the pictures with matplotlib only, as one set; the names of those written."""
    files = {
        "report.html": render(comparison, verdict, about).encode(),
        "table.csv": table.to_csv(table.rows(comparison)),
        "runs.csv": table.to_csv(table.run_rows(comparison)),
        **(encode_comparison(comparison, about.title) if pictures.can_plot() else {}),
    }
    for name, content in files.items():
        out.stage(name, content)
    out.commit()
    return list(files)
