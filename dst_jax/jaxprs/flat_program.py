"""A program as one list of steps, in which every product is in sight.

Calls are inlined and scans are unrolled where there are products inside; every other
equation stays one step. What an analysis of a whole training step asks - which products
are gradients, of what - is then a question about one list.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend import core

from dst_jax.jaxprs.calls import Called, called, name_of, scan_parts
from dst_jax.jaxprs.hidden_products import is_hidden, multiplies
from dst_jax.jaxprs.module_paths import Path, path_of
from dst_jax.jaxprs.operand_roles import Role
from dst_jax.jaxprs.product_operands import is_product
from dst_jax.jaxprs.values import arrays_of, values_of
from dst_jax.jaxprs.walker import bind

__all__ = ["FlatProgram", "FlatStep", "Slots", "flattened"]

SHOWN = ("conv_general_dilated", "dot_general")
"""Products that a flat program may hold."""

Slots = tuple[int, ...]
"""Numbers of values."""


class FlatStep(NamedTuple):
    """One step: `run` makes the values of `writes` of those of `reads`.

    Attributes:
      run: function of the operands to the list of results.
      reads: numbers of the operands.
      writes: numbers of the results.
      product: equation of a convolution or matrix product; None for other steps.
      path: path of its module.
    """

    run: Callable[[Sequence[Any]], list[Any]]
    reads: Slots
    writes: Slots
    product: core.JaxprEqn | None = None
    path: Path = ()


class FlatProgram(NamedTuple):
    """Steps in order of execution, over numbered values.

    Attributes:
      inputs: numbers of the inputs.
      outputs: numbers of the outputs.
      constants: values of the constants, by number.
      steps: the steps.
    """

    inputs: Slots
    outputs: Slots
    constants: dict[int, Any]
    steps: list[FlatStep]


def flattened(program: Called) -> FlatProgram:
    """A jaxpr as a list of steps; those whose results nothing reads are left out.

    Raises:
      ValueError: a product is in a branch, in a loop without a fixed length, in a
        `shard_map`, or of another kind than `dot_general` and `conv_general_dilated`.

    >>> import jax
    >>> from dst_jax.jaxprs.calls import opened
    >>> square = jax.jit(lambda x: x @ x)
    >>> closed = jax.make_jaxpr(lambda x: square(x) + 1)(jnp.eye(2))
    >>> [step.product is not None for step in flattened(opened(closed)).steps]
    [True, False]
    """
    writer = _Writer()
    inputs = tuple(writer.slot() for _ in program.jaxpr.invars)
    outputs = writer.follow(program, inputs, ())
    return FlatProgram(inputs, outputs, writer.constants, _live(writer.steps, outputs))


class _Writer:
    """Numbers values and writes steps down."""

    def __init__(self) -> None:
        self.steps: list[FlatStep] = []
        self.constants: dict[int, Any] = {}
        self._slots = 0

    def slot(self) -> int:
        """A number for a new value."""
        self._slots += 1
        return self._slots - 1

    def constant(self, value: Any) -> int:
        """The number of a new constant."""
        slot = self.slot()
        self.constants[slot] = value
        return slot

    def write(
        self,
        run: Callable[[Sequence[Any]], list[Any]],
        reads: Sequence[int],
        results: int,
        **product: Any,
    ) -> Slots:
        """Writes a step down; returns the numbers of its results."""
        writes = tuple(self.slot() for _ in range(results))
        self.steps.append(FlatStep(run, tuple(reads), writes, **product))
        return writes

    def follow(self, program: Called, args: Sequence[int], path: Path) -> Slots:
        """Writes the steps of a jaxpr down; returns the numbers of its outputs."""
        jaxpr, consts = program
        env: dict[Any, int] = dict(zip(jaxpr.invars, args, strict=True))
        for var, const in zip(jaxpr.constvars, consts, strict=True):
            env[var] = self.constant(const)

        def read(atom: Any) -> int:
            if isinstance(atom, core.Literal):
                return self.constant(atom.val)
            return env[atom]

        for eqn in jaxpr.eqns:
            here = (*path, *path_of(eqn.source_info.name_stack))
            written = self._step(eqn, [read(atom) for atom in eqn.invars], here)
            env.update(zip(eqn.outvars, written, strict=True))
        return tuple(read(atom) for atom in jaxpr.outvars)

    def _step(self, eqn: core.JaxprEqn, reads: list[int], path: Path) -> Slots:
        name, results = eqn.primitive.name, len(eqn.outvars)
        if is_product(eqn) and name in SHOWN:
            run = partial(_bound, eqn)
            return self.write(run, reads, results, product=eqn, path=path)
        hidden = is_hidden(eqn) or is_product(eqn)
        if not hidden and not multiplies(eqn):
            return self.write(partial(_bound, eqn), reads, results)
        if name == "scan" and not hidden:
            return self._unrolled(eqn, reads, path)
        inner = None if hidden else called(eqn)
        if inner is None:
            raise ValueError(
                f"cost.training cannot count the multiplications of {name_of(eqn)!r}:"
                f" it counts {' and '.join(SHOWN)} in calls and scans"
            )
        return self.follow(inner, reads, path)

    def _unrolled(self, eqn: core.JaxprEqn, reads: list[int], path: Path) -> Slots:
        """A scan, one iteration after another."""
        body, n_consts, n_carry = scan_parts(eqn)
        length = eqn.params["length"]
        consts, xs = reads[:n_consts], reads[n_consts + n_carry :]
        carry: Sequence[int] = reads[n_consts : n_consts + n_carry]
        slices: dict[int, Slots] = {}
        for i in range(length)[:: -1 if eqn.params["reverse"] else 1]:
            x = [self.write(partial(_slice, i), [slot], 1)[0] for slot in xs]
            results = self.follow(body, [*consts, *carry, *x], path)
            carry, slices[i] = results[:n_carry], results[n_carry:]
        avals: list[Any] = [var.aval for var in eqn.outvars[n_carry:]]
        stacked = [
            self.write(
                partial(_stack, aval.shape, aval.dtype),
                [slices[i][j] for i in range(length)],
                1,
            )[0]
            for j, aval in enumerate(avals)
        ]
        return (*carry, *stacked)


def _live(steps: Sequence[FlatStep], outputs: Slots) -> list[FlatStep]:
    """The steps that the outputs depend on."""
    needed, found = set(outputs), []
    for step in reversed(steps):
        if needed.intersection(step.writes):
            needed.update(step.reads)
            found.append(step)
    return found[::-1]


def _bound(eqn: core.JaxprEqn, arrays: Sequence[Any]) -> list[Any]:
    roles = [Role.CONSTANT] * len(arrays)
    return arrays_of(bind(eqn, values_of(list(arrays), roles)))


def _slice(i: int, arrays: Sequence[Any]) -> list[Any]:
    return [arrays[0][i]]


def _stack(shape: tuple[int, ...], dtype: Any, arrays: Sequence[Any]) -> list[Any]:
    return [jnp.stack(arrays) if arrays else jnp.zeros(shape, dtype)]
