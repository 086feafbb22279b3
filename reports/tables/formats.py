"""How strings are escaped for Markdown and LaTeX, and how frames are written."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

_TEX_SIGNS: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "%": r"\%",
    "_": r"\_",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "|": r"\textbar{}",
    "<": "$<$",
    ">": "$>$",
    "\n": " ",
    "\r": " ",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "≈": r"$\approx$",
    "✓": r"$\checkmark$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\to$",
    "≠": r"$\neq$",
}

_MARKDOWN_MARKS = re.compile(
    r"[\\|*`$~]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[])"
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # within a word, an underscore is one
)


def tex(value: object) -> str:
    """Return a value for LaTeX, on one line, with everything escaped that it reads as a command."""
    return str(value).translate(str.maketrans(_TEX_SIGNS))


def markdown(value: object) -> str:
    """Return a value for Markdown, on one line, with everything escaped that it reads as a mark, formulas included."""
    return _MARKDOWN_MARKS.sub(r"\\\g<0>", " ".join(str(value).splitlines()))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame with four decimals and the line ends of Unix."""
    frame.to_csv(path, index=False, float_format="%.4f", lineterminator="\n")
