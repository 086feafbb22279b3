"""What cells are computed with: devices, compiled kernels, threads, cores, the ranks of torchrun, signals, clocks.

`compute` chooses device, precision and threads; `ranks` has the collectives; `hardware` says on what machine and by which code
a result was made. It knows nothing of cells, methods or records.
May import `networks` and the modules beside the packages.
"""
