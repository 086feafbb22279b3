"""Plans: how long a grid will take, before it runs; `--dry-run`, and the order in which executors run cells.

`cost` counts the operations of a cell, `similar` and `estimates` make seconds and memory of them by the records of similar
cells, `schedule` deals cells out to workers, and `lines` puts it into sentences. Nothing is run.
May import `records`, `cells`, `machine`, `networks` and the modules beside the packages.
"""
