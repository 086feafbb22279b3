"""Plans: how long a grid will take, before it runs.

    python run_all.py ... --dry-run                            each cell, on this machine
    python -m bench.plan --profile paper --gpus 1,8,64         a simulation for so many GPUs

`cost` counts the operations of a cell, `estimates` makes seconds and memory of them by a model that is fitted to records,
`schedule` deals cells out to workers, and `lines` says what comes of it. Nothing is run.
"""
