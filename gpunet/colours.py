"""The colours of lines in every picture, page and notebook.

Each has a contrast of 3:1 or more on white and on the dark ground alike; any two stay apart (a
CIE76 difference of 30 or more), for readers with a common kind of colour blindness too.
"""

from __future__ import annotations

COLOURS = ("#2d4bff", "#d27800", "#3ca587", "#a578f0", "#d2003c", "#964b96")
GREY = "#7b8490"  # lines behind
