"""Methods that take real images as they are: at random, all of them, or a coreset chosen by a rule.

`coreset` selects by the features of a network that is trained once for all rules; `herding`, `kcenter` and `kmeans` are rules.
May import `bench.cells`, `bench.loops.images`, `bench.machine.timing`, `bench.networks.weights`, and the ground modules of
`bench`; torch and scikit-learn come from `bench.lazy`.
"""
