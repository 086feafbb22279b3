"""Do two commits give the same images, bit for bit, and the same accuracies?

    python tests/regression/same_images.py BEFORE [AFTER] [-- options of run_all.py]

Each commit is checked out with `git worktree` and runs one cell of every method at IPC 1 and 2, one thread, on this machine:
other processors round otherwise. Without AFTER, the working tree as it is runs instead. Prints a line for each cell, and exits
with 1 if any differs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--ipc", "1,2", "--eval-nets", "1", "--set", "eval.epochs=10", "--set", "whole.epochs=2", "--threads", "1")


def run(root: Path, out: Path, options: list[str]) -> None:
    """Run the grid by the code in `root`; cells that fail are compared as such."""
    with (out.parent / f"{out.name}.log").open("w") as log:
        subprocess.run([sys.executable, "run_all.py", *OPTIONS, *options, "--out", str(out)], cwd=root, stderr=log, check=False)


def contents(out: Path) -> dict[str, tuple[str, dict[str, torch.Tensor], list[tuple[float, ...]]]]:
    """Return by hash the label of each cell, its images and labels, and the accuracies of its evaluations."""
    cells = {}
    for path in sorted((out / "records").glob("*.json")):
        record = json.loads(path.read_text())
        images = path.with_suffix(".safetensors")
        spec = record["spec"]
        label = f"{spec['dataset']} ipc {spec['ipc']} {spec['method']}"
        accuracies = [tuple(evaluation["accuracies"]) for evaluation in record["evaluations"]]
        cells[record["hash"]] = label, load_file(images) if images.exists() else {}, accuracies
    return cells


def differences(before: Path, after: Path) -> list[str]:
    """Print a line for each cell; return those that differ."""
    old, new = contents(before), contents(after)
    lines = []
    for digest in sorted({*old, *new}, key=lambda digest: (old.get(digest) or new[digest])[0]):
        if digest not in old or digest not in new:
            lines.append(f"{(old.get(digest) or new[digest])[0]} ({digest}): only one of the two has it")
            continue
        label, images, accuracies = old[digest]
        others = new[digest][1]
        same = images.keys() == others.keys() and all(torch.equal(images[name], others[name]) for name in images)
        equal = accuracies and accuracies == new[digest][2]
        sys.stdout.write(f"{label}: images {'equal' if same else 'DIFFER'}, accuracies {'equal' if equal else 'DIFFER'}\n")
        if not (same and equal):
            lines.append(label)
    return lines


def main(arguments: list[str]) -> int:
    """Run both commits and compare; return the exit status."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    commits, options = arguments[:cut], arguments[cut + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        outs = []
        for number, commit in enumerate([*commits, None][:2]):
            root, out = ROOT, Path(folder) / f"out{number}"
            if commit is not None:
                root = Path(folder) / f"tree{number}"
                subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", str(root), commit], check=True)
            try:
                run(root, out, options)
            finally:
                if commit is not None:
                    subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(root)], check=True)
            outs.append(out)
        different = differences(*outs)
    sys.stdout.write("".join(f"different: {line}\n" for line in different) or "all cells are equal\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
