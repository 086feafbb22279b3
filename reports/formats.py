"""How numbers and texts are written in Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
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
    "±": r"$\pm$",
    "–": "--",
    "✓": r"$\checkmark$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≠": r"$\neq$",
}


def plus_minus(mean: float, deviation: float) -> str:
    """Return `70.5 ± 0.7`, or the mean alone where there is no deviation."""
    return f"{mean:.1f}" if math.isnan(deviation) else f"{mean:.1f} ± {deviation:.1f}"


def tex(text: str) -> str:
    """Return a text with everything that LaTeX reads as a command escaped."""
    return text.translate(str.maketrans(_TEX_SIGNS))


def tex_plus_minus(mean: float, deviation: float) -> str:
    """Return mean and deviation for LaTeX, the deviation small and below the line."""
    return f"{mean:.1f}" if math.isnan(deviation) else rf"{mean:.1f}$_{{\pm {deviation:.1f}}}$"


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame with four decimals and the line ends of Unix."""
    frame.to_csv(path, index=False, float_format="%.4f", lineterminator="\n")
