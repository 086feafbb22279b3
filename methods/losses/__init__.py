"""Losses on features, and what they are computed with. A file has a `FeatureLoss` and the `METHOD` that describes it.

A loss compares the features of real images with those of synthetic images, class by class. The loop that matches features is
`bench.loops.matching`; it is the same for all of them.
May import `bench.cells`, `bench.machine.threads`, the ground modules of `bench`, and other files of this package; torch and the
solvers come from `bench.lazy`, so that importing a loss takes no time.
"""
