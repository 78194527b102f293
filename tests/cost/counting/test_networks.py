"""T2 and T13: ResNets at 224 pixels against published MACs and XLA's own count.

Independent checks, and nothing is computed: dense and valid are known while tracing.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.extend import core

from dst_jax import cost, models

# Dense MACs from the layers' shapes, padding included; valid ones without it.
MACS = {
    "resnet18": (1_814_073_344, 1_680_390_912),
    "resnet34": (3_663_761_408, 3_374_922_496),
    "resnet50": (4_089_184_256, 3_948_251_904),
}


@functools.cache
def traced(name: str) -> tuple[Any, Any, Any]:
    model = models.create(name, num_classes=1000)
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    return model, jax.eval_shape(model.init, jax.random.key(0), x), x


@functools.cache
def counted(name: str) -> dict[str, tuple[int, int]]:
    """(dense, valid) of every operation."""
    model, variables, x = traced(name)
    found: dict[str, tuple[int, int]] = {}

    def fn(variables, x):
        for key, op in cost.count(model.apply)(variables, x).items():
            found[key] = int(op.dense), int(op.valid)

    jax.eval_shape(fn, variables, x)
    return found


@functools.cache
def xla_flops(primitive: Any, params: tuple[tuple[str, Any], ...], *avals: Any) -> int:
    """XLA's count of one operation, from its shapes."""
    fn = jax.jit(functools.partial(primitive.bind, **dict(params)))
    analysis = fn.lower(*avals).cost_analysis()
    return int(analysis["flops"])


def products(jaxpr: core.Jaxpr):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("conv_general_dilated", "dot_general"):
            yield eqn
        for inner in core.jaxprs_in_params(eqn.params):
            yield from products(inner)


@pytest.mark.slow
@pytest.mark.parametrize("name", MACS)
def test_macs_at_224_are_the_published_ones(name):
    totals = tuple(sum(column) for column in zip(*counted(name).values(), strict=True))
    assert totals == MACS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", MACS)
def test_valid_is_half_of_what_xla_counts_in_every_layer(name):
    model, variables, x = traced(name)
    closed = jax.make_jaxpr(model.apply)(variables, x)
    flops = []
    for eqn in products(closed.jaxpr):
        shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
        flops.append(xla_flops(eqn.primitive, tuple(eqn.params.items()), *shapes))
    assert [2 * valid for _, valid in counted(name).values()] == flops
    assert sum(flops) == 2 * MACS[name][1]
