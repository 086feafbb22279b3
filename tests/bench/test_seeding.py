"""Named streams."""

from __future__ import annotations

import torch

from bench.seeding import Streams


def test_a_stream_is_fixed_for_all_time():
    # A changed number would silently change every result: records of one seed would no longer be comparable.
    assert Streams(0, "digits", 1).number("extractor", 3) == 3848990623911348728


def test_every_part_of_the_name_matters():
    base = Streams(0, "digits", 1).number("real", 0)
    others = [
        Streams(1, "digits", 1).number("real", 0),
        Streams(0, "mnist", 1).number("real", 0),
        Streams(0, "digits", 10).number("real", 0),
        Streams(0, "digits", None).number("real", 0),
        Streams(0, "digits", 1).number("augment", 0),
        Streams(0, "digits", 1).number("real", 1),
    ]
    assert len({base, *others}) == 7


def test_drawing_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    torch.rand(5, generator=Streams(0, "digits", 1).generator("real"))
    assert torch.equal(before, torch.get_rng_state())
