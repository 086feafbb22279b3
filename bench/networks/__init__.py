"""The architectures, and what their names mean.

`names` is the registry and reads names such as `convnet-w64-bn`, without torch. `network` makes networks that fit a data set;
each architecture has a file of its own. Imports nothing of the engine but errors, types and `lazy`.
"""
