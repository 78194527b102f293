import jax
import jax.numpy as jnp
import pytest
from jax import lax

from dst_jax.cost.counting.op_profile import Geometry
from dst_jax.cost.counting.synthetic import output_shape, synthetic

CONV = Geometry((2, 1), ((1, 0), (2, 3)), (1, 2), (2, 1), groups=2)


def test_densities():
    op = synthetic(
        Geometry(),
        ((64, 256), (256, 64)),
        0.25,
        0.75,
        jax.random.key(0),
        density_output=0,
    )
    assert float(op.activation.mean()) == pytest.approx(0.25, abs=0.02)
    assert float(op.weight.mean()) == pytest.approx(0.75, abs=0.02)
    assert not bool(op.output.any())
    # Operands are drawn from different keys.
    assert not bool((op.weight == op.activation.T).all())


def test_output_shape_is_that_of_xla():
    activation, weight = (3, 9, 7, 8), (3, 2, 4, 10)
    out = jax.eval_shape(
        lambda a, w: lax.conv_general_dilated(
            a,
            w,
            CONV.strides,
            CONV.padding,
            CONV.lhs_dilation,
            CONV.rhs_dilation,
            ("NHWC", "HWIO", "NHWC"),
            CONV.groups,
        ),
        jnp.ones(activation),
        jnp.ones(weight),
    )
    assert output_shape(CONV, activation, weight) == out.shape


@pytest.mark.parametrize(
    ("shapes", "densities", "match"),
    [
        (((2, 4), (4, 3)), (1.5, 0.5), r"density_activation must be in \[0, 1\]"),
        (((2, 4), (4, 3)), (0.5, -1.0), "density_weight"),
        (((2, 4), (5, 3)), (0.5, 0.5), "agree in channels"),
        (((2, 4, 4), (4, 3)), (0.5, 0.5), "must have 2 axes"),
    ],
)
def test_bad_input(shapes, densities, match):
    with pytest.raises(ValueError, match=match):
        synthetic(Geometry(), shapes, *densities, jax.random.key(0))


def test_windows_and_groups_must_fit():
    with pytest.raises(ValueError, match="no room for the window"):
        output_shape(Geometry((1,), ((0, 0),), (1,), (1,)), (1, 2, 1), (3, 1, 1))
    with pytest.raises(ValueError, match="filters in 2 groups, got 3"):
        output_shape(Geometry(groups=2), (1, 4), (2, 3))
