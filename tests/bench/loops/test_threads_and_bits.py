"""Images and accuracies are the same to the bit, whatever the number of threads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import task

from bench.loops.evaluation import evaluate
from bench.loops.images import starting_images
from bench.loops.matching import match
from bench.machine.threads import Workers

CHUNK_BYTES = 3 * 4 * 8 * 12 * 12
"""Maps of three images: every pass has several chunks."""


def result(loss, threads):
    """Return a tiny cell's images, and what networks that are trained on them score."""
    cell = task(method=loss)
    compute = replace(cell.compute, threads=threads, chunk_bytes=CHUNK_BYTES)
    cell = replace(cell, compute=compute)
    with compute.serving():
        syn = match(cell)
        trained = evaluate(cell, syn, cell.spec.protocol.eval, "convnet")
    return syn.images, trained.values


@pytest.mark.parametrize("loss", ["dm", "kr", "emd"])
def test_the_number_of_threads_changes_no_bit(loss):
    (images, values), *others = (result(loss, threads) for threads in (1, 2, 3))
    assert (images - starting_images(task(), "real").images).abs().max() > 0.01
    for again, measured in others:
        assert torch.equal(again, images)
        assert measured == values


def test_chunks_run_side_by_side(monkeypatch):
    used = []
    usual = Workers.map
    monkeypatch.setattr(Workers, "map", lambda self, function, *items: used.append(1) or usual(self, function, *items))
    result("dm", 2)
    assert len(used) > 3 * 3  # features, both sides, and the gradient of each of three steps; then training and testing
