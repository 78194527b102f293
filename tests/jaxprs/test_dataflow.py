"""Facts about values, followed through everything that holds a jaxpr."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from dst_jax.jaxprs.calls import opened
from dst_jax.jaxprs.dataflow import Domain, followed

Inputs = frozenset[int]


class Reached(Domain[tuple[Inputs, tuple[int, ...]]]):
    """From which inputs a value is computed, and its shape. Records what it sees."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def constant(self, aval: Any) -> tuple[Inputs, tuple[int, ...]]:
        return frozenset(), aval.shape

    def either(self, a: Any, b: Any) -> tuple[Inputs, tuple[int, ...]]:
        assert a[1] == b[1]
        return a[0] | b[0], a[1]

    def results(self, eqn: Any, operands: Sequence[Any], scope: Any) -> list[Any]:
        for atom, (_, shape) in zip(eqn.invars, operands, strict=True):
            assert atom.aval.shape == shape, eqn
        self.seen.append("/".join(filter(None, map(str, (*scope, eqn.primitive)))))
        inputs = frozenset().union(*(operand[0] for operand in operands))
        return [(inputs, var.aval.shape) for var in eqn.outvars]

    def element(self, fact: Any, scan: Any) -> Any:
        return fact[0], fact[1][1:]

    def stacked(self, fact: Any, scan: Any) -> Any:
        return fact[0], (scan.params["length"], *fact[1])

    def shaped(self, fact: Any, aval: Any) -> Any:
        return fact[0], aval.shape

    def tentative(self) -> "Reached":
        return Reached()


def reached(fn: Any, *args: Any) -> tuple[list[set[int]], list[str]]:
    domain = Reached()
    inputs = [(frozenset({i}), jnp.shape(x)) for i, x in enumerate(args)]
    results = followed(opened(jax.make_jaxpr(fn)(*args)), inputs, domain)
    return [set(inputs) for inputs, _ in results], domain.seen


A, B = jnp.ones((2, 3)), jnp.ones((2, 3))
MESH = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Auto,))


def mapped(fn: Any) -> Any:
    spec = PartitionSpec("d")
    return jax.shard_map(fn, mesh=MESH, in_specs=spec, out_specs=(spec, spec))


THROUGH = {
    "nothing": lambda a, b: (a * 2, a + b),
    "jit": jax.jit(lambda a, b: (a * 2, a + b)),
    "remat": jax.checkpoint(lambda a, b: (a * 2, a + b)),
    "scan": lambda a, b: lax.scan(lambda c, x: (c, x), a * 2, a + b),
    "slices": lambda a, b: lax.scan(lambda c, x: (c, (x[0], x[0] + x[1])), 0, (a, b))[
        1
    ],
    "while": lambda a, b: lax.while_loop(
        lambda c: c[1][0, 0] < b[0, 0], lambda c: (c[0] * 2, c[1]), (a, a + b)
    ),
    "cond": lambda a, b: lax.cond(b[0, 0] > 0, lambda: (a, a), lambda: (2 * a, a + b)),
    "shard_map": mapped(lambda a, b: (a * 2, a + b)),
}


@pytest.mark.parametrize("fn", THROUGH.values(), ids=THROUGH)
def test_every_result_is_followed_on_its_own(fn):
    assert reached(fn, A, B)[0] == [{0}, {0, 1}]


def test_a_carry_is_followed_until_nothing_is_added():
    def shift(a, b):
        return lax.fori_loop(0, 5, lambda _, c: (c[1], c[2], c[0]), (a, a, b))

    assert reached(shift, A, B)[0] == [{0, 1}] * 3


def test_an_equation_in_a_loop_is_seen_once():
    def fn(a, b):
        with jax.named_scope("loop"):
            return lax.fori_loop(0, 5, lambda _, c: (c[1], jnp.sin(c[0])), (a, b))

    seen = reached(fn, A, B)[1]
    assert [name for name in seen if name.endswith("sin")] == ["loop/sin"]


def test_the_test_of_a_loop_is_seen_too():
    seen = reached(
        lambda a, b: lax.while_loop(lambda c: jnp.cos(c).sum() > 0, lambda c: c * b, a),
        A,
        B,
    )[1]
    assert [name for name in seen if name.endswith("cos")] == ["cos"]
