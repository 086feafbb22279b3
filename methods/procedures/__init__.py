"""Methods with a loop of their own, in two files each: `NAME.py` describes the method and `NAME_loop.py` distills.

The description names its loop as `"module:function"`, so that listing methods imports no torch.
A description may import `bench.cells`; a loop may also import `bench.loops`, `bench.machine` and `bench.networks`. A loop
imports its description, for the settings, and never the other way round.
"""
