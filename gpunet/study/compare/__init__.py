"""Which optimizer for this problem? The same training by every optimizer at many learning rates.

In reading order: `plan` (which runs), `runs` (one run), `cache` (its file), `pool` (several at a
time), `summary` (statistics), `verdict` (what they say), and what shows it: `table`, `style`,
`charts`, `report`.
"""
