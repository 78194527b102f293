import json
from inspect import unwrap

import jax
import jax.numpy as jnp
import pytest

from dst_jax import cost
from dst_jax.cost import Count, OpCounts


def layer(*numbers: int) -> OpCounts:
    return OpCounts(*(Count.of(n) for n in numbers))


COUNTS = {"conv1": layer(8, 6, 4, 3, 2), "fc": layer(2**50, 2**50, 2**49, 1, 1)}


def test_total_adds_the_operations():
    expected = (2**50 + 8, 2**50 + 6, 2**49 + 4, 4, 3)
    assert tuple(map(int, cost.total(COUNTS))) == expected
    assert tuple(map(int, jax.jit(cost.total)(COUNTS))) == expected


def test_total_of_nothing_is_zero():
    assert cost.total({}) == OpCounts(0, 0, 0, 0, 0)


def test_drop_of_all_and_of_one_operation():
    counts = {"a": layer(8, 6, 4, 3, 2), "b": layer(8, 4, 2, 2, 1)}
    assert cost.drop(counts) == 1 - 3 / 16
    assert cost.drop(counts, reference="valid") == 1 - 3 / 10
    assert cost.drop(counts["a"]) == 1 - 2 / 8
    assert cost.drop(OpCounts(8, 6, 4, 3, 2)) == 1 - 2 / 8


def test_drop_keeps_integers_that_floats_lose():
    assert cost.drop(OpCounts(2**60, 2**60, 0, 0, 2**60 - 2**8)) == 2**-52


def test_drop_names_the_references():
    with pytest.raises(ValueError, match=r"reference must be one of.*valid.*'padded'"):
        unwrap(cost.drop)(COUNTS, reference="padded")


def test_drop_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no dense multiplications"):
        cost.drop({})


def test_accumulate_adds_batches_in_python_integers():
    batches = [jax.device_get(COUNTS)] * 3 + [COUNTS]
    sums = cost.accumulate(iter(batches))
    assert list(sums) == ["conv1", "fc"]
    assert sums["conv1"] == (32, 24, 16, 12, 8)
    assert sums["fc"].dense == 2**52
    assert all(type(n) is int for op in sums.values() for n in op)
    assert cost.accumulate([sums, sums])["fc"].dense == 2**53


def test_accumulate_of_no_batches_is_empty():
    assert cost.accumulate([]) == {}


def test_accumulate_names_the_differing_operations():
    with pytest.raises(ValueError, match="batch 1 and batch 0 differ in: fc, fc2"):
        cost.accumulate([COUNTS, {"conv1": COUNTS["conv1"], "fc2": COUNTS["fc"]}])


def test_as_dict_is_json():
    counts = cost.count(lambda w, x: x @ w)(jnp.eye(2), jnp.ones((3, 2)))
    assert json.loads(json.dumps(cost.as_dict(counts))) == {
        "dot_general": {
            "dense": 12,
            "valid": 12,
            "by_activation": 12,
            "by_weight": 6,
            "effectual": 6,
        }
    }
