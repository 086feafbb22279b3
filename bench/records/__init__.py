"""What is kept: the records of cells, their images, resume states, locks, and prepared artefacts.

`record` says what a record holds, `storage` reads and writes its files, `folder` looks through the folder of a run.
May import `cells`, `networks` and the modules beside the packages.
"""
