"""Peak memory, as each system counts it."""

from __future__ import annotations

import resource

import pytest
import torch

from bench.machine.timing import peak_memory_mib, resident_peak_mib

SELF = resource.RUSAGE_SELF


def test_linux_says_the_peak_since_the_reset_in_kib(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t   3072 kB\nVmRSS:\t  1024 kB\n")
    assert resident_peak_mib(status) == 3


@pytest.mark.parametrize(("platform", "mib"), [("darwin", 1.0), ("linux", 1024.0), ("freebsd14", 1024.0)])
def test_where_linux_says_nothing_the_system_s_unit_counts(platform, mib, tmp_path, monkeypatch):
    usage = resource.struct_rusage([0, 0, 2**20, *[0] * 13])
    monkeypatch.setattr(resource, "getrusage", lambda who: usage if who == SELF else None)
    assert resident_peak_mib(tmp_path / "none", platform) == mib


def test_this_process_has_taken_some_memory(tmp_path):
    assert 10 < peak_memory_mib(torch.device("cpu")) < 2**20
    assert 10 < resident_peak_mib(tmp_path / "none") < 2**20
