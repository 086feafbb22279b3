"""`index.html`: the whole report on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Which loss, at what cost?</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
figure { margin: 1rem 0; display: inline-block; vertical-align: top; }
figcaption, .caption { color: #555; font-size: .9rem; }
</style>
</head>
<body>
<h1>Which loss, at what cost?</h1>
<p>{{ cells }} cells. Raw data:
{% for file in files %}<a href="{{ file }}">{{ file }}</a>{{ ", " if not loop.last }}{% endfor %}.</p>
{% for table in tables %}
<h2>{{ table.title }}</h2>
{% for line in table.caption %}<p class="caption">{{ line }}</p>{% endfor %}
<table>
<thead><tr>{% for name in table.head %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table>
{% for line in table.notes %}<p class="caption">{{ line }}</p>{% endfor %}
{% endfor %}
<h2>Accuracy and time</h2>
{% for picture in plots %}<figure><img src="{{ picture }}" alt="{{ picture }}"></figure>{% endfor %}
<h2>The distilled images</h2>
<p class="caption">One row a class; up to ten images of each, of the first seed.</p>
{% for picture in images %}<figure><img src="{{ picture }}" alt="{{ picture }}"><figcaption>{{ picture }}</figcaption></figure>
{% endfor %}
</body>
</html>
"""


def parse_markdown(text: str) -> dict[str, object]:
    """Return title, captions, head, rows and notes of a Markdown file that holds one table, as `reports.tables` writes it."""
    lines = [line for line in text.splitlines() if line]
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    title, notes = lines[0].lstrip("# "), lines[first + len(table) :]
    return {"title": title, "caption": lines[1:first], "head": table[0], "rows": table[2:], "notes": notes}


def render_page(folder: Path, *, cells: int, markdown: Sequence[str], plots: Sequence[str], images: Sequence[str]) -> None:
    """Write `index.html` into `folder`, from the files that are already there."""
    files = sorted(path.name for path in folder.iterdir() if path.suffix in (".md", ".csv", ".tex"))
    tables = [parse_markdown((folder / name).read_text(encoding="utf-8")) for name in markdown]
    template = Environment(autoescape=True).from_string(_PAGE)
    text = template.render(cells=cells, files=files, tables=tables, plots=plots, images=images)
    (folder / "index.html").write_text(text, encoding="utf-8")
