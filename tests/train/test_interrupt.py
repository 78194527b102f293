"""Signals: one process stops for its own, several only where they have agreed."""

import os
import signal

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from dst_jax import train
from dst_jax.train.stage_run import _read


def _signal(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_answered_at_the_next_question(number):
    before = signal.getsignal(number)
    with train.Interrupt() as interrupt:
        assert not interrupt.requested(1)
        _signal(number)
        assert interrupt.requested(2)
        with pytest.raises(train.Interrupted, match="nothing is lost"):
            interrupt.check()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_does_what_it_does_outside():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("outside"))
    try:
        with train.Interrupt():
            _signal(signal.SIGINT)
            assert seen == []
            _signal(signal.SIGINT)
            assert seen == ["outside"]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def two(monkeypatch):
    """Two processes, as far as this one can tell."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)


def test_the_service_decides_by_a_count_that_goes_on(two, monkeypatch):
    asked, stop = [], []

    def reached(count):
        asked.append(count)
        return count in stop

    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", reached)
    terminated = []
    before = signal.signal(signal.SIGTERM, lambda *_: terminated.append(True))
    try:
        with train.Interrupt() as interrupt:
            start = asked[-1]
            _signal(signal.SIGTERM)  # the service's own handler stays
            assert terminated == [True]
            assert not interrupt.requested(7)
            _signal(signal.SIGINT)  # handed on to the service, once
            assert terminated == [True, True]
            assert not interrupt.requested(8)
            stop.append(start + 3)
            assert interrupt.requested(1)  # a new stage counts from 1, the service on
            assert interrupt.requested(2)
            with pytest.raises(train.Interrupted):
                interrupt.check()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert asked == list(range(start, start + 6))


def test_without_the_service_all_flags_are_gathered(two, monkeypatch):
    def missing(count):
        raise RuntimeError("Preemption sync manager has not been initialized.")

    others = np.array([False])
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", missing)
    monkeypatch.setattr(
        multihost_utils, "process_allgather", lambda flag: np.array([flag, others[0]])
    )

    def first_stop(interrupt):
        return next(i for i in range(1, 40) if interrupt.requested(i))

    with train.Interrupt() as interrupt:
        assert not any(interrupt.requested(i) for i in range(20))
        _signal(signal.SIGTERM)
        assert 1 <= first_stop(interrupt) <= 10
    with train.Interrupt() as interrupt:
        others[0] = True  # the other process's
        assert 1 <= first_stop(interrupt) <= 10


def test_a_loader_that_lost_a_process_is_an_error_of_the_data():
    def batches():
        yield {"label": 1}
        raise ValueError("Worker process was terminated unexpectedly. Search logs.")

    class Loader:
        found = batches()

        def __iter__(self):
            return self

        def __next__(self):
            try:
                return next(self.found)
            except ValueError as error:  # as Grain says it
                raise RuntimeError(str(error)) from None

    read = _read(Loader())
    assert next(read) == {"label": 1}
    with pytest.raises(OSError, match="stopped: Worker process was terminated unexpec"):
        next(read)
