import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import data

DIGITS = data.load("digits", holdout=0.05).holdout  # 60 examples


def plain(split):
    examples = [split.example(i) for i in range(len(split))]
    return np.stack([e.image for e in examples]), [e.label for e in examples]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 3))
def test_every_example_once_and_in_order(batch_size, threads):
    batches = list(data.eval_batches(DIGITS, batch_size=batch_size, threads=threads))
    images, labels = plain(DIGITS)
    np.testing.assert_array_equal(np.concatenate([b.image for b in batches]), images)
    np.testing.assert_array_equal(np.concatenate([b.label for b in batches]), labels)
    assert all(b.image.dtype == np.uint8 for b in batches)
    assert all(b.label.dtype == np.int32 for b in batches)
    assert [b.sharded for b in batches] == [True] * (60 // batch_size) + [False] * (
        60 % batch_size > 0
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.sampled_from([2, 3, 4]))
def test_processes_share_whole_batches_and_repeat_the_remainder(share, count):
    batch_size = share * count
    whole = list(data.eval_batches(DIGITS, batch_size=batch_size))
    parts = [
        list(
            data.eval_batches(
                DIGITS, batch_size=batch_size, process_index=i, process_count=count
            )
        )
        for i in range(count)
    ]
    for k, batch in enumerate(whole):
        shares = [part[k] for part in parts]
        assert all(s.sharded == batch.sharded for s in shares)
        if batch.sharded:
            joined = np.concatenate([s.image for s in shares])
            np.testing.assert_array_equal(joined, batch.image)
        else:
            for s in shares:
                np.testing.assert_array_equal(s.image, batch.image)
    assert all(len(part) == len(whole) for part in parts)


def test_corrupt_records_are_left_out(sets):
    sets.imagenette(damage={i: {"image": b"junk"} for i in (1, 4, 5, 6, 7)})
    split = data.load("imagenette", image_size=8, holdout=0.0).train
    batches = list(data.eval_batches(split, batch_size=4))
    # 12 photographs: batches 0-3, 4-7, of which nothing is left, and 8-11.
    assert [b.label.tolist() for b in batches] == [[0, 2, 3], [8, 9, 0, 1]]
    assert len(split.corrupt) == 5


def test_several_processes_cannot_leave_records_out(sets):
    sets.mnist(damage={1: {"image": b"junk"}})
    split = data.load("mnist", holdout=0.0).train
    batches = data.eval_batches(split, batch_size=4, process_count=2)
    with pytest.raises(ValueError, match=r"mnist train\[1\].*Several processes"):
        next(batches)


def test_several_processes_leave_out_what_one_of_them_finds(sets):
    sets.mnist(damage={1: {"image": b"junk"}})
    split = data.load("mnist", holdout=0.0).train
    alone = list(data.eval_batches(split, batch_size=4))

    def anywhere(flags):
        return flags | (np.arange(len(flags)) == 1) if first else flags

    for i in range(2):
        batches = data.eval_batches(
            split, batch_size=4, process_index=i, process_count=2, anywhere=anywhere
        )
        first = True
        batch = next(batches)
        assert not batch.sharded
        np.testing.assert_array_equal(batch.image, alone[0].image)
        first = False
        assert next(batches).sharded


def test_too_many_corrupt_records_are_an_error(sets):
    sets.imagenette(damage={i: {"image": b"junk"} for i in (1, 4)})
    split = data.load("imagenette", image_size=8, holdout=0.0, corrupt_limit=1).train
    with pytest.raises(ValueError, match="corrupt_limit=1"):
        list(data.eval_batches(split, batch_size=4))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 5, "process_count": 2}, "multiple of process_count=2, got 5"),
        ({"batch_size": 4, "process_index": 1}, "process_index must be 0 to 0"),
        ({"batch_size": 4, "threads": 0}, "threads must be at least 1"),
    ],
)
def test_options_out_of_range_are_errors_at_once(options, match):
    with pytest.raises(ValueError, match=match):
        data.eval_batches(DIGITS, **options)
