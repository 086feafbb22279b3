"""Methods that come from outside the suite: a user's loss, `path/to/file.py:name`, and a distilled set, `set:PATH`.

Neither is in the registry: `methods.find_method` makes them from what was typed after `--methods`.
May import all of `bench` but `plan`, `running` and `command`.
"""
