"""Signals: they are noted while a run listens, and end it when it polls them."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bench.machine import signals
from bench.machine.signals import Interrupted


@pytest.fixture(autouse=True)
def _signals_are_as_in_a_terminal():
    # A test run in a shell's background, or under nohup, ignores some, and so would what is tested here.
    ignored = [number for number in signals.SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    signals.reset()
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_is_noted_and_raised_where_it_is_asked_for(number):
    before = signal.getsignal(number)
    with signals.listening():
        signals.check()
        os.kill(os.getpid(), number)
        assert signals.received()
        with pytest.raises(Interrupted) as error:
            signals.check()
        assert error.value.number == number
    assert not signals.received()
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_wait():
    with signals.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_where_another_process_says_it_once_further_signals_change_nothing():
    with pytest.raises(Interrupted) as error, signals.listening(policy="stop_once"):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        signals.check()
    assert error.value.number == signal.SIGTERM


def test_a_signal_that_another_process_says_once_is_not_lost_where_nothing_asks_for_it():
    with pytest.raises(Interrupted) as error, signals.listening(policy="stop_once"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert error.value.number == signal.SIGTERM


def test_a_signal_in_the_last_instant_has_the_effect_that_it_had_before(monkeypatch):
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    monkeypatch.setattr(signals, "disarm", lambda: signal.raise_signal(signal.SIGTERM))
    try:
        with signals.listening(policy="stop_once"):
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with signals.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.received()
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_work_that_comes_to_no_end_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr(signals, "GRACE", 0.05)
    with signals.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted) as error:
            time.sleep(30)
        assert error.value.name == "SIGTERM"


def test_a_signal_may_be_remembered_alone():
    with signals.listening(policy="remember"):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert signals.received()
    assert not signals.received()
