import hypothesis.strategies as st
import pytest
from hypothesis import given

from dst_jax.cost.estimates import traffic

BITS = st.integers(0, 3_000)  # moved 3,000 times, still exact in float32
BUFFER = st.integers(1, 2_000)


@given(BITS, BITS, BITS, BUFFER, BUFFER)
def test_dram_is_the_cheaper_order(a, w, o, buffer_a, buffer_w):
    """Against the two orders in Python; never below one pass, equal if one fits."""
    found = float(
        traffic.dram(a, w, o, activation_buffer=buffer_a, weight_buffer=buffer_w)
    )
    tiles_w, tiles_a = max(-(-w // buffer_w), 1), max(-(-a // buffer_a), 1)
    weight_outside = w + a * (1 if a <= buffer_a else tiles_w)
    activation_outside = a + w * (1 if w <= buffer_w else tiles_a)
    assert found == min(weight_outside, activation_outside) + o
    assert found >= traffic.one_pass(a, w, o)
    if a <= buffer_a or w <= buffer_w:
        assert found == traffic.one_pass(a, w, o)


def test_known_passes_replace_the_choice():
    moved = traffic.dram(10, 20, 5, activation_buffer=1, weight_buffer=1, passes=(3, 2))
    assert float(moved) == 3 * 10 + 2 * 20 + 5


@pytest.mark.parametrize("reads", [(1, 1), (4, 2)])
def test_sram(reads):
    moved = traffic.sram(
        10, 20, 5, activation_reads=reads[0], weight_reads=reads[1], psums=7
    )
    assert float(moved) == reads[0] * 10 + reads[1] * 20 + 5 + 7
