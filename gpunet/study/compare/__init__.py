"""Which optimizer for this problem? The same training by every optimizer at many learning rates.

In reading order: `grid` (which runs), `runs` (one run), `cache` (its file), `pool` (several at a
time), `comparison` (statistics), `verdict` (what they say), and what shows it: `table`, `curves`,
`charts`, `report`, `write`.
"""
