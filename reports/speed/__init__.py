"""The report of the benchmarks, `python -m reports --benchmarks`: seconds, memory, and how both grow.

`measurements` reads the file that `tox -e bench` writes, `scaling` fits and draws how cost grows with sizes, and `benchmarks`
writes the page. Imports `reports.frames`, `reports.verdicts`, `reports.tables`, `reports.figures` and `reports.swap`, and
records of `bench`.
"""
