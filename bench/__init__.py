"""The engine: types, protocols, networks, augmentation, matching, evaluation, records and the runner.

Nothing in this package knows a method, a dataset or a report by name.
"""
