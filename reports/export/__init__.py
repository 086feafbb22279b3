"""Distilled sets in the forms of other tools: `python -m reports export`.

`export` joins the images of all seeds and writes them in a form of `bench.sets`; `dataset_card` writes the card of a set on the
Hugging Face Hub. Imports `reports.frames`, `reports.statistics` and `reports.swap`, of `reports.tables` the templates, and
records, sets and names of networks of `bench`.
"""
