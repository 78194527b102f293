import json
import os
import subprocess
import sys
from itertools import islice

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest

from dst_jax import data


@pytest.fixture(scope="module")
def split():
    return data.load("digits", holdout=0.9).train  # 120 examples


def take(split, n, **options):
    options = {"batch_size": 16, "seed": 0, **options}
    return list(islice(data.train_iterator(split, **options), n))


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys() == {"image", "label"}
        np.testing.assert_array_equal(batch["image"], other["image"])
        np.testing.assert_array_equal(batch["label"], other["label"])


def ids(batches):
    """What mnist of conftest.py puts into every pixel: the record's index."""
    return np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches])


def test_a_batch_has_the_promised_shapes_and_types(split):
    (batch,) = take(split, 1)
    assert (batch["image"].shape, batch["image"].dtype) == ((16, 16, 16, 1), np.uint8)
    assert (batch["label"].shape, batch["label"].dtype) == ((16,), np.int32)


def test_the_same_seed_gives_the_same_batches(split):
    assert_same(take(split, 20), take(split, 20))
    first, other = take(split, 1), take(split, 1, seed=1)
    assert not np.array_equal(first[0]["image"], other[0]["image"])


@pytest.mark.parametrize("options", [{"threads": 4}, {"prefetch": 1}])
def test_batches_do_not_depend_on_how_they_are_read(split, options):
    assert_same(take(split, 20, threads=1), take(split, 20, **options))


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_every_batch(split, count):
    whole = take(split, 12)
    parts = [
        take(split, 12, process_index=i, process_count=count) for i in range(count)
    ]
    for k, batch in enumerate(whole):
        shares = [part[k] for part in parts]
        assert all(len(share["label"]) == 16 // count for share in shares)
        for name, rows in batch.items():
            found = np.concatenate([share[name] for share in shares])
            np.testing.assert_array_equal(found, rows)


def test_every_epoch_is_another_permutation(sets):
    sets.mnist(n_train=42)
    split = data.load("mnist", holdout=0.0).train
    order = ids(take(split, 21, batch_size=10))  # 210 = 5 epochs of 42
    epochs = order.reshape(5, 42)
    for epoch in epochs:
        assert sorted(epoch) == list(range(42))
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_augmentation_differs_from_epoch_to_epoch(split):
    batches = take(split, 20, batch_size=len(split))
    images = {
        image.tobytes() for batch in batches for image in batch["image"][:, :, :, 0]
    }
    assert len(images) > 5 * len(split)


def test_a_saved_state_continues_with_the_next_batch(split):
    iterator = data.train_iterator(split, batch_size=16, seed=0)
    before = list(islice(iterator, 5))
    state = json.loads(json.dumps(iterator.get_state()))
    assert state == {"next_index": 5}
    after = list(islice(iterator, 10))
    fresh = data.train_iterator(split, batch_size=16, seed=0, threads=3)
    fresh.set_state(state)
    assert_same(list(islice(fresh, 10)), after)
    fresh.set_state({"next_index": 0})
    assert_same(list(islice(fresh, 5)), before)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_training_goes_on_with_any_number_of_processes(split, count):
    after = take(split, 25)[15:]  # 15 batches of 16 are two epochs of 120 examples
    options = {"start": 15, "process_count": count}
    parts = [take(split, 10, process_index=i, **options) for i in range(count)]
    for k, batch in enumerate(after):
        for name, rows in batch.items():
            found = np.concatenate([part[k][name] for part in parts])
            np.testing.assert_array_equal(found, rows)


def test_the_state_travels_in_an_orbax_checkpoint(split, tmp_path):
    iterator = data.train_iterator(split, batch_size=16, seed=0)
    next(iterator)
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(1, args=grain.checkpoint.CheckpointSave(iterator))
        manager.wait_until_finished()
        expected = next(iterator)
        fresh = data.train_iterator(split, batch_size=16, seed=0)
        manager.restore(1, args=grain.checkpoint.CheckpointRestore(fresh))
    assert_same([next(fresh)], [expected])


def test_a_corrupt_record_is_replaced_by_the_next_readable_one(sets):
    sets.mnist(n_train=20, damage={i: {"image": b"junk"} for i in (7, 8, 19)})
    split = data.load("mnist", holdout=0.0).train
    order = ids(take(split, 2, batch_size=10))
    expected = [*range(7), 9, 9, *range(9, 19), 0]
    assert sorted(order) == sorted(expected)
    assert sorted(split.corrupt.reasons) == [
        "mnist train[19]",
        "mnist train[7]",
        "mnist train[8]",
    ]


def test_replacement_does_not_depend_on_processes_or_threads(sets):
    sets.imagenette(damage={4: {"image": b"junk"}})
    split = data.load("imagenette", image_size=16, holdout=0.0).train
    whole = take(split, 6, batch_size=4, threads=1)
    assert_same(whole, take(split, 6, batch_size=4, threads=4))
    part = take(split, 6, batch_size=4, process_index=1, process_count=2)
    for batch, share in zip(whole, part, strict=True):
        np.testing.assert_array_equal(share["image"], batch["image"][2:])


def test_too_many_corrupt_records_stop_the_iterator(sets):
    sets.imagenette(damage={i: {"image": b"junk"} for i in (2, 3, 5)})
    split = data.load("imagenette", image_size=16, holdout=0.0, corrupt_limit=2).train
    with pytest.raises(ValueError, match=r"corrupt_limit=2 .*imagenette train\[[235]"):
        take(split, 3, batch_size=12)


def test_a_split_without_a_readable_record_is_an_error(sets):
    sets.mnist(n_train=5, damage={i: {"image": b"junk"} for i in range(5)})
    split = data.load("mnist", holdout=0.0).train
    with pytest.raises(ValueError, match="no record of mnist train is readable"):
        take(split, 1, batch_size=5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": 121}, "at most the 120 examples of digits train, got 121"),
        ({"process_count": 3}, "a multiple of process_count=3, got 16"),
        ({"process_count": 0}, "process_count must be at least 1"),
        ({"process_index": 1}, "process_index must be 0 to 0, got 1"),
        ({"seed": -1}, "seed must be 0 to 4294967295, got -1"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"prefetch": 0}, "prefetch must be at least 1, got 0"),
        ({"start": -1}, "start must be at least 0, got -1"),
    ],
)
def test_options_out_of_range_are_errors(split, options, match):
    with pytest.raises(ValueError, match=match):
        data.train_iterator(split, **{"batch_size": 16, "seed": 0, **options})


def test_steps_per_epoch_counts_whole_batches(split):
    assert data.steps_per_epoch(split, 16) == 7
    assert data.steps_per_epoch(split, 120) == 1
    assert data.steps_per_epoch(split, 121) == 0


WORKERS = """
import numpy as np
from dst_jax import data

def main():
    split = data.load("digits").train
    def iterator(**options):
        return data.train_iterator(split, batch_size=16, seed=0, **options)
    threaded, worked = iterator(), iterator(workers=2)
    resumed = iterator(workers=1, start=3)  # another number of workers
    for step in range(6):
        expected, found = next(threaded), next(worked)
        np.testing.assert_array_equal(expected["image"], found["image"])
        if step >= 3:
            np.testing.assert_array_equal(expected["image"], next(resumed)["image"])
    worked.close()
    resumed.close()

if __name__ == "__main__":
    main()
    print("same")
"""


@pytest.mark.slow
def test_worker_processes_give_the_same_batches(tmp_path):
    script = tmp_path / "script.py"  # workers import the main program anew
    script.write_text(WORKERS)
    path = os.pathsep.join(filter(None, sys.path))
    result = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == "same\n", result.stderr
