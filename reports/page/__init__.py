"""`index.html`: the whole report on one page.

`page` has its content and writes it with `templates/page.html`; `cards` makes the card of each cell, with the command of
`commands`; `charts` makes the interactive charts; `images` and `sheets` draw the distilled images. Imports `reports.frames`,
`reports.statistics`, `reports.tables` and `reports.figures`, and descriptions and records of `bench`.
"""
