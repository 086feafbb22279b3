"""What happens in a cell: real and starting images, the matching loop, training, evaluation, and the recorder of a loop.

A loop asks its task for its share of the classes and for sums over all shares; it knows neither ranks nor executors.
May import `records`, `cells`, `machine`, `networks` and the modules beside the packages.
"""
