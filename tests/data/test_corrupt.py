import logging
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from dst_jax.data import CorruptLog, CorruptRecord
from dst_jax.data.corrupt import reading


def test_a_record_is_counted_and_reported_once(caplog):
    log = CorruptLog(limit=2)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            log.add(CorruptRecord("mnist train[3]", "truncated"))
        log.add(CorruptRecord("mnist train[4]", "no image"))
    assert len(log) == 2
    assert dict(log.reasons) == {
        "mnist train[3]": "truncated",
        "mnist train[4]": "no image",
    }
    assert [record.getMessage() for record in caplog.records] == [
        "corrupt record left out: mnist train[3]: truncated",
        "corrupt record left out: mnist train[4]: no image",
    ]


def test_one_more_than_the_limit_is_an_error_with_its_key():
    log = CorruptLog(limit=1)
    log.add(CorruptRecord("a[0]", "x"))
    log.add(CorruptRecord("a[0]", "x"))
    with pytest.raises(ValueError, match=r"corrupt_limit=1 .* a\[1\]: y"):
        log.add(CorruptRecord("a[1]", "y"))


def test_threads_report_a_record_once(caplog):
    log = CorruptLog(limit=100)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(8) as pool:
        for _ in range(200):
            pool.submit(log.add, CorruptRecord("a[0]", "x"))
    assert len(caplog.records) == 1


def test_a_worker_process_can_take_a_copy():
    log = CorruptLog(limit=1)
    log.add(CorruptRecord("a[0]", "x"))
    copy = pickle.loads(pickle.dumps(log))
    assert dict(copy.reasons) == dict(log.reasons)
    assert str(pickle.loads(pickle.dumps(CorruptRecord("a[0]", "x")))) == "a[0]: x"


def test_reading_keeps_the_cause():
    cause = OSError("truncated")
    with (
        pytest.raises(CorruptRecord, match="OSError: truncated") as error,
        reading("a"),
    ):
        raise cause
    assert error.value.__cause__ is cause
