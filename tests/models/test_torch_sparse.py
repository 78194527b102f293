import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array

from dst_jax.models.torch import sparse as torch_sparse

_SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)


@pytest.mark.parametrize("form", ["bitmask", "csr"])
@given(data=st.data())
def test_any_array_comes_back(form, data):
    kind = data.draw(st.sampled_from([np.float32, np.float16, np.float64, np.int8]))
    array = data.draw(hnp.arrays(kind, _SHAPES))
    sparse = np.where(data.draw(hnp.arrays(bool, array.shape)), array, kind(0))
    parts = torch_sparse.compress(sparse, form)
    back = torch_sparse.restore(parts, form)
    assert back.dtype == sparse.dtype
    assert back.shape == sparse.shape
    assert back.tobytes() == sparse.tobytes()  # NaN and -0.0, too
    assert len(parts["values"]) >= np.count_nonzero(sparse)


@pytest.mark.parametrize("form", ["bitmask", "csr"])
def test_bfloat16_comes_back(form):
    array = np.array([[0.0, -0.0, 1.5], [0.0, 3.0, 0.0]], ml_dtypes.bfloat16)
    back = torch_sparse.restore(torch_sparse.compress(array, form), form)
    assert back.tobytes() == array.tobytes()


def test_csr_is_scipys():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(8, 3, 3, 3))
    kernel = np.where(rng.random(kernel.shape) < 0.3, kernel, 0.0)
    sparse = csr_array(kernel.reshape(8, -1))
    parts = torch_sparse.compress(kernel, "csr")
    np.testing.assert_array_equal(parts["row_pointers"], sparse.indptr)
    np.testing.assert_array_equal(parts["column_indices"], sparse.indices)
    np.testing.assert_array_equal(parts["values"], sparse.data)


@pytest.mark.parametrize(
    ("form", "part", "value", "message"),
    [
        ("bitmask", "shape", np.array([2, -3]), "shape must be whole numbers"),
        ("bitmask", "shape", np.array([2.0, 3.0]), "shape must be whole numbers"),
        ("bitmask", "shape", np.array([9, 9]), "bitmask must be 11 bytes"),
        ("bitmask", "bitmask", np.array([255], np.uint8), "beyond its 6"),
        ("bitmask", "bitmask", np.array([1], np.uint8), "for 1 values, but 2"),
        ("bitmask", "values", np.ones((2, 1), np.float32), "values must have one axis"),
        ("csr", "row_pointers", np.array([0, 2], np.uint8), "over 2 rows"),
        ("csr", "row_pointers", np.array([0, 2, 1], np.uint8), "must rise"),
        ("csr", "row_pointers", np.array([0, 1, 5], np.uint8), "must be 5 below 3"),
        ("csr", "row_pointers", np.array([0, 1, 2], np.int8), "must be unsigned"),
        ("csr", "column_indices", np.array([1, 3], np.uint8), "must be 2 below 3"),
        ("csr", "shape", np.array([2, 2**61, 8]), "fit into memory"),
        ("csr", "values", np.ones(3, np.float32), "for 2 values, but 3"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(form, part, value, message):
    array = np.array([[0, 5, 0], [0, 0, 7]], np.float32)
    parts = torch_sparse.compress(array, form)
    with pytest.raises(ValueError, match=message):
        torch_sparse.restore({**parts, part: value}, form)
    del parts[part]
    with pytest.raises(ValueError, match=f"has no part {part}"):
        torch_sparse.restore(parts, form)


def test_columns_must_increase_in_a_row():
    parts = torch_sparse.compress(np.array([[1.0, 2.0]], np.float32), "csr")
    with pytest.raises(ValueError, match="must increase"):
        torch_sparse.restore(
            {**parts, "column_indices": np.array([1, 1], np.uint8)}, "csr"
        )
