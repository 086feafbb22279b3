"""What a command is: its options, the listing, the progress on the console, and how it ends.

It is given the registries as a `bench.running.suite.Suite`, and knows no method, dataset or table by name.
May import every other package of `bench` but `sets`.
"""
