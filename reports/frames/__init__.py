"""Records as rows: what is read of them, and the tidy frames that every table and figure is made from.

`reading` reads folders, `results` makes the frames, of the columns in `rows`. `names` has the keys, labels and order of rows,
columns and cells. `variants` and `profiles` say in which settings cells differ, `machines` where they ran, and `metrics` what
is measured. `published` has the published numbers. Imports descriptions and records of `bench`, and nothing else of reports.
"""
