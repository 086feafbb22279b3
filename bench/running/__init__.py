"""The driver of a grid: the runner, which makes records of cells, and the executors, which run cells in other processes.

`workplace` is what every process has that works on cells; `setup` and `worker` start one; `preparation` makes what cells share;
`rank_jobs` and `torchrun` divide a cell among processes; `suite` is what the packages beside the engine give it.
May import `loops`, `plan`, `records`, `cells`, `machine` and the modules beside the packages.
"""
