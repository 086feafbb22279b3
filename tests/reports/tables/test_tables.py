"""One table object, three formats: what stands in a cell, and that no name breaks the form."""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess
from functools import cache

import pytest
from made_records import ODD, evaluation, odd, record, rich
from markdown_it import MarkdownIt
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker

from reports.frames.results import Results
from reports.tables import TABLES
from reports.tables.formats import tex
from reports.tables.table import Row, Table, TableCell
from reports.verdicts.verdict import LEGEND, SIGNS, Verdict

BELOW = Verdict("below", -3.0, z=-2.5, z_most=-5.0)
JUDGED = TableCell(67.0, 1.0, published=70.0, published_spread=0.2, verdict=BELOW, note=1)
TABLE = Table(
    name="made",
    title="A title",
    label_heads=("Dataset", "IPC"),
    heads=("A", "B"),
    rows=(
        Row(
            ("x", "1"),
            (
                TableCell(70.0, 0.5, best=True),
                JUDGED,
            ),
        ),
        Row(("x", "10"), (TableCell(label="–", published=80.0, published_spread=0.0, verdict=Verdict("not run")), TableCell())),
        Row(("y", "1"), (TableCell(50.0, float("nan"), bracket=-1.25, tied=True), TableCell(0.123, digits=2))),
    ),
    lead="A lead.",
    caption=("One.", "Two."),
    notes=("a note",),
)


def test_markdown():
    assert TABLE.render("md") == (
        "# A title\n\nA lead.\n\nOne.\nTwo.\n\n"
        "| Dataset | IPC | A | B |\n| --- | ---: | ---: | ---: |\n"
        "| x | 1 | **70.0 ± 0.5** | 67.0 ± 1.0 (70.0 ± 0.2) ↓ z −2.5 [1] |\n"
        "| x | 10 | – (80.0 ± 0.0) |  |\n"
        "| y | 1 | 50.0 ≈ (-1.2) | 0.12 |\n\n[1] a note.\n"
    )


def test_latex():
    lines = TABLE.render("tex").splitlines()
    assert lines[:5] == [r"% A title. Needs \usepackage{booktabs,amssymb}.", "% A lead.", "% One.", "% Two.", lines[4]]
    assert lines[5:] == [
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"Dataset & IPC & A & B \\",
        r"\midrule",
        r"x & 1 & \textbf{70.0$_{\pm 0.5}$} & 67.0$_{\pm 1.0}$ \\",
        r" & &  & \textit{70.0$_{\pm 0.2}$} $\downarrow$ {\scriptsize z $-$2.5}$^{[1]}$ \\",
        r" & 10 & -- &  \\",
        r" & & \textit{80.0$_{\pm 0.0}$} &  \\",
        r"\midrule",
        r"y & 1 & 50.0 $\approx$ ($-1.2$) & 0.12 \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% [1] a note.",
    ]


def test_html():
    page = TABLE.render("html")
    assert "<td><strong>70.0 ± 0.5</strong></td>" in page
    assert '<td data-verdict="below">67.0 ± 1.0 <span class="published">(70.0 ± 0.2) ↓&nbsp;z −2.5' in page
    assert '<a href="#made-note-1">[1]</a>' in page
    linked = Table("made", "A title", (), ("DM",), (Row((), (TableCell(value=70.0, best=True, anchor="cell-1"),)),))
    assert '<td><a class="to-card" href="#cell-1"><strong>70.0</strong></a></td>' in linked.render("html")
    assert '<p class="caption" id="made-note-1">[1] a note.</p>' in page


def tables(records):
    made = [entry.make(Results.of(records)) for entry in TABLES]
    return [table for table in made if table is not None]


def complete():
    """Return records for which every table has something."""
    measured = evaluation("convnet", (70.0, 71.0)).model_copy(update={"metrics": {"worst_class_accuracy": (40.0, 41.0)}})
    return [*rich(), record("whole", ipc=None, accuracies=(91.0,)), record("emd", ipc=50, evaluations=(measured,))]


def hostile():
    """Return records whose names are commands of LaTeX, Markdown and HTML, one each."""
    several = (evaluation("convnet"), evaluation("mlp", (50.0, 52.0)))
    settings = [odd(record("zebra", settings={"text": name}, evaluations=several)) for name in ODD]
    return [*map(odd, complete()), *settings, record("dm", dataset="a|b\nc\\")]


@cache
def hostile_tables():
    return tables(hostile())


def test_every_table_is_made_of_complete_records():
    assert {table.name for table in tables(complete())} == {entry.name for entry in TABLES}


def test_markdown_keeps_its_columns_whatever_the_names():
    for table in hostile_tables():
        lines = [line for line in table.render("md").splitlines() if line.startswith("|")]
        assert len(lines) == len(table.rows) + 2
        for line in lines:
            assert len(re.findall(r"(?<!\\)\|", line)) == len(table.label_heads) + len(table.heads) + 1, line


def test_latex_parses_strictly_and_keeps_its_columns_whatever_the_names():
    for table in hostile_tables():
        text = table.render("tex")
        nodes, *_ = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
        (tabular,) = [node for node in nodes if node.isNodeType(LatexEnvironmentNode)]
        outside = [line for line in text.replace(tabular.latex_verbatim(), "").splitlines() if line]
        assert all(line.startswith("%") for line in outside)
        rows = [line for line in tabular.latex_verbatim().splitlines() if line.endswith(r"\\")]
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) == len(table.label_heads) + len(table.heads) - 1, row


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path):
    made = hostile_tables()
    for table in made:
        (tmp_path / f"{table.name}.tex").write_text(table.render("tex"), encoding="utf-8")
    inputs = "".join(f"\\input{{{table.name}}}\n\n" for table in made)
    head = r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs,amssymb}"
    (tmp_path / "all.tex").write_text(f"{head}\\begin{{document}}\\tiny\n{inputs}\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout[-2000:]


class Reader(html.parser.HTMLParser):
    """Counts cells by row, and remembers texts and tags."""

    def __init__(self):
        super().__init__()
        self.rows, self.texts, self.tags = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_data(self, data):
        self.texts.append(data)


def test_html_keeps_its_columns_and_shows_names_as_they_are():
    texts, tags = [], set()
    for table in hostile_tables():
        reader = Reader()
        reader.feed(table.render("html"))
        assert set(reader.rows) == {len(table.label_heads) + len(table.heads)}
        texts += reader.texts
        tags |= reader.tags
    assert "b" not in tags  # `<b>` of a name is text
    for name in ODD:
        assert any(name in text for text in texts), name


@pytest.mark.parametrize(
    "name", [*ODD, "a|b", "a\nb", "*x*", "_y_ __z__", "~a~ ~~b~~", "`code`", "[a](b)", "![a][b]", "\\|", "&lt;"]
)
def test_markdown_of_a_name_is_that_name(name):
    row = Row((name, "1"), (TableCell(label=name),))
    made = Table(name, name, (name, "IPC"), (name,), (row,), lead=name, caption=(name,), notes=(name,))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(made.render("md"))
    texts = [token for token in tokens if token.type == "inline"]
    shown = name.replace("\n", " ")
    assert [text.children[0].type for text in texts] == ["text"] * len(texts)
    words = ["".join(child.content for child in text.children) for text in texts]
    assert words == [shown, shown, shown, shown, "IPC", shown, shown, "1", shown, f"[1] {shown}."]
    assert all("$" not in line.replace(r"\$", "") for line in made.render("md").splitlines())  # GitHub's formulas


def test_rows_columns_and_cells_say_what_they_are_of():
    hidden = record("kr", settings={"hidden": 64})
    made = {table.name: table.render("html") for table in tables([record(), record("kr"), hidden, record("whole", ipc=None)])}
    assert '<tr data-dataset="fashionmnist" data-ipc="1">' in made["table2"]
    for tag in ('<th scope="col"', "<td"):
        assert f'{tag} data-method="kr" data-variant="kr.hidden=64"' in made["table2"]
        assert f'{tag} data-method="dm" data-variant=""' in made["table2"]
    assert '<tr data-dataset="fashionmnist" data-ipc="all" data-method="whole" data-variant="">' in made["timing"]
    assert '<tr data-dataset="fashionmnist" data-ipc="1">' in made["comparisons"]
    for text in made.values():
        assert text.count("<tr data-dataset=") == text.count("<tr") - 1  # all but the heads


def test_latex_of_a_name_is_that_name():
    assert tex("a\nb|c<d") == r"a b\textbar{}c$<$d"
    for sign in SIGNS.values():
        assert tex(sign).isascii()


def test_the_legend_explains_every_sign():
    for kind, sign in SIGNS.items():
        assert f"{sign} {kind}" in LEGEND


def test_the_best_of_a_row_is_bold_and_what_is_as_good_is_marked():
    def seeds(method, *accuracies):
        return [record(method, seed=seed, accuracies=of) for seed, of in enumerate(accuracies)]

    best = seeds("dm", (80.0, 80.4), (80.2, 80.0), (80.1, 80.3))
    close = seeds("kr", (80.1, 80.0), (80.3, 79.9), (80.0, 80.2))
    far = seeds("emd", (70.0, 70.2), (70.1, 70.3), (70.2, 70.0))
    entry = next(entry for entry in TABLES if entry.name == "table2")
    table = entry.make(Results.of([*best, *close, *far, record("whole", ipc=None, accuracies=(99.0,))]))
    cells = dict(zip(table.heads, table.rows[0].cells, strict=True))
    assert {name: (cell.best, cell.tied) for name, cell in cells.items() if cell.value} == {
        "DM": (True, False),
        "KR": (False, True),
        "EMD": (False, False),
        "WHOLE": (False, False),
    }
    alone = entry.make(Results.of([best[0], close[0]]))
    assert not any(cell.tied for row in alone.rows for cell in row.cells)
    assert any("One seed gives no interval" in line for line in alone.caption)
    assert not any("One seed gives no interval" in line for line in table.caption)


def test_a_warning_of_a_record_is_a_footnote_of_its_cell():
    diverged = record("kr", dataset="own").model_copy(update={"warnings": ("pixels reach 1e7",)})
    published = record(accuracies=(60.0, 60.2)).model_copy(update={"warnings": ("pixels reach 1e7",)})
    (table,) = (table for table in tables([diverged, published]) if table.name == "table2")
    text = table.render("md")
    assert "70.5 ± 0.7 [" in text
    assert "] warning: pixels reach 1e7." in text
    assert re.search(r"\] warning: pixels reach 1e7; \S+ times fewer real images", text)


def test_table_1_compares_the_best_selection_and_shows_the_rest():
    records = [record("herding", accuracies=(67.0, 66.8)), record("random", accuracies=(50.0, 51.0)), record(dataset="digits")]
    table = next(table for table in tables(records) if table.name == "table1")
    assert [row.labels for row in table.rows] == [("fashionmnist", "1"), ("fashionmnist", "10"), ("fashionmnist", "50")]
    text = table.render("md")
    assert "| fashionmnist | 1 | 66.9 ± 0.1 (67.0 ± 1.9) ✓ [1] | – (88.5 ± 0.1) | – (93.5 ± 0.1) |" in text
    assert "| fashionmnist | 10 | – (71.1 ± 0.7) [2] | – (90.0 ± 0.7) |" in text
    assert "[1] the best here of RANDOM, HERDING: HERDING." in text
    assert not [table for table in tables([record(dataset="digits")]) if table.name == "table1"]
