"""A page in HTML that stands alone: it follows dark mode and fits a narrow window."""

from __future__ import annotations

from html import escape

from gpunet.study.styles import variables
from gpunet.study.words import language

STYLE = """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.25rem; }
pre { padding: .75rem; background: var(--panel); border-radius: .5rem; overflow-x: auto;
  overflow-wrap: normal; font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 400; font-size: .85rem; color: var(--soft); }
th, td { padding: .25rem .6rem; text-align: right !important; white-space: nowrap; }
td { border-top: 1px solid var(--line); }
"""


def page(title: str, body: str) -> str:
    """The document. body: HTML, with what is wider than a window in a `<div class='wide'>`."""
    return (
        f"<!doctype html>\n<html lang='{language()}'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape(title)}</title>\n<style>\n{variables()}{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
