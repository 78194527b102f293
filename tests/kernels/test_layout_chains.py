"""Random layouts before a product, against what perturbed entries say.

The oracle knows no shapes: it perturbs one entry of a kernel at a time and looks which
outputs change, and which entries of the input decide by how much. Two entries of a line
that change the same outputs by different inputs were contracted; two that change
different outputs by the same inputs are outputs; else they are of different layers.
"""

import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from dst_jax import kernels
from dst_jax.kernels import Kernel

SIZES = st.lists(st.sampled_from([1, 2, 2, 3, 4]), min_size=1, max_size=4)


@st.composite
def layouts(draw: Any) -> tuple[tuple[int, ...], list[tuple[str, tuple[int, ...]]]]:
    """A shape, and reshapes and transpositions, the last to at most four axes."""
    shape = draw(SIZES)
    steps: list[tuple[str, tuple[int, ...]]] = []
    now = tuple(shape)
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            order = tuple(draw(st.permutations(range(len(now)))))
            steps.append(("transpose", order))
            now = tuple(now[i] for i in order)
        else:
            now = draw(st.sampled_from(_factorisations(math.prod(now))))
            steps.append(("reshape", now))
    return tuple(shape), steps


def _factorisations(n: int) -> list[tuple[int, ...]]:
    """Shapes of at most four axes, all but one longer than 1, that hold n elements."""
    sizes = [d for d in range(1, n + 1) if n % d == 0]
    shapes = itertools.chain(
        *(itertools.product(sizes, repeat=k) for k in (1, 2, 3, 4))
    )
    return [s for s in shapes if math.prod(s) == n and s.count(1) <= 1]


def _aligned(shape: tuple[int, ...], steps: Any) -> bool:
    """Whether no reshape cuts across axes, as (2, 3) to (3, 2) does.

    Then every coordinate of the kernel is a sum of one term for each axis.
    """
    for end in range(len(steps) + 1):
        for axis in range(len(shape)):
            at = _arranged(np.indices(shape)[axis], steps[:end])
            lines = [
                at[tuple(slice(None) if i == j else slice(1) for i in range(at.ndim))]
                for j in range(at.ndim)
            ]
            if (sum(lines) != at).any():
                return False
    return True


def _arranged(x: Any, steps: Any) -> Any:
    for name, argument in steps:
        x = getattr(x, name)(argument)
    return x


def _product(roles: str) -> str:
    """An einsum of a kernel, whose axes have these roles, and of an input."""
    letters = dict(enumerate("abcd"[: len(roles)]))
    kept = {
        r: "".join(letters[i] for i, x in enumerate(roles) if x == r) for r in "sio"
    }
    kernel = "".join(letters.values())
    return f"{kernel},{kept['s']}{kept['i']}z->{kept['s']}{kept['o']}z"


def _oracle(
    shape: tuple[int, ...], steps: Any, formula: str, x: np.ndarray, out: Any
) -> list[set[str]]:
    """Per axis of the kernel what two entries along it are to each other."""
    entries = np.eye(math.prod(shape), dtype=np.int64).reshape(-1, *shape)
    arranged = np.stack([_arranged(entry, steps) for entry in entries])
    kernel, inputs, outputs = formula.replace("->", ",").split(",")
    changed = np.einsum(f"n{kernel},{inputs}->n{outputs}", arranged, x) != 0
    decides = np.einsum(f"n{kernel},{outputs}->n{inputs}", arranged, out) != 0
    found: list[set[str]] = []
    numbers = np.arange(len(entries)).reshape(shape)
    for axis, size in enumerate(shape):
        lines = np.moveaxis(numbers, axis, -1).reshape(-1, size)
        pairs = [pair for line in lines for pair in itertools.combinations(line, 2)]
        found.append({_relation(changed, decides, a, b) for a, b in pairs})
    return found


def _relation(changed: np.ndarray, decides: np.ndarray, a: int, b: int) -> str:
    same_outputs = (changed[a] == changed[b]).all()
    same_inputs = (decides[a] == decides[b]).all()
    return {(True, False): "i", (False, True): "o", (False, False): "s"}[
        bool(same_outputs), bool(same_inputs)
    ]


@pytest.mark.slow
@settings(max_examples=60)
@given(layouts(), st.data())
def test_any_layout_in_front_of_a_product(layout, data):
    shape, steps = layout
    final = _arranged(np.zeros(shape), steps).shape
    letters = st.text("sio", min_size=len(final), max_size=len(final))
    roles = data.draw(letters)
    assume("i" in roles)
    formula = _product(roles)
    sizes = {r: [n for n, x in zip(final, roles, strict=True) if x == r] for r in "sio"}
    x = np.ones((*sizes["s"], *sizes["i"], 2), np.int64)
    out = np.ones((*sizes["s"], *sizes["o"], 2), np.int64)

    def fn(w: Any, x: Any) -> Any:
        return jnp.einsum(formula, _arranged(w, steps), x)

    found = kernels.by_use(fn)(jnp.ones(shape), jnp.asarray(x, jnp.float32)).get("")
    meant = _oracle(shape, steps, formula, x, out)
    if any({"i", "o"} <= relations for relations in meant):
        event("no axes")  # parts of one become inputs, others outputs
        assert found is None
    elif found is None:  # nothing is contracted but axes of size 1
        assert not _aligned(shape, steps) or {"i"} not in meant
    elif _aligned(shape, steps) and all(len(relations) < 2 for relations in meant):
        event("axes")
        _check(found, meant)


def _check(found: Kernel, meant: list[set[str]]) -> None:
    of = {"s": found.stack, "i": found.inputs, "o": found.outputs}
    for axis, relations in enumerate(meant):
        for relation in relations:  # none along an axis of size 1
            assert axis in of[relation], (found, meant)
    assert found.window == ()
    assert found.groups == 1
