"""What follows from the frames: means, spreads, comparisons and scores, without published values.

`variance` has means and their two spreads; `comparable` says which columns share a protocol, `comparisons`, `ranks` and
`answer` which of them is better; `rates`, `transfer`, `metrics`, `dd_ranking`, `timing` and `curves` make the numbers of one
table or figure each; `changes` compares two folders. Imports `reports.frames`, and descriptions and records of `bench`.
"""
