"""A program as one list of steps, in which every product is in sight.

Calls are inlined, scans are unrolled and all branches are followed where there are
products inside; every other equation stays one step. What an analysis of a whole
training step asks - which products are gradients, of what - is then a question about
one list.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.extend import core

from dst_jax.jaxprs.calls import Called, called, name_of, opened, scan_parts
from dst_jax.jaxprs.hidden_products import is_hidden, multiplies, why_hidden
from dst_jax.jaxprs.module_paths import Path, path_of
from dst_jax.jaxprs.operand_roles import Role
from dst_jax.jaxprs.product_operands import is_product
from dst_jax.jaxprs.values import arrays_of, values_of
from dst_jax.jaxprs.walker import bind

__all__ = ["FlatProgram", "FlatStep", "Slots", "flattened"]

SHOWN = ("conv_general_dilated", "dot_general", "ragged_dot_general")
"""Products that a flat program may hold."""

REASONS = {
    "while": "JAX has no reverse-mode derivative of a loop without a fixed length, so"
    " it is no part of a training step but in a custom derivative, or apart from the"
    " gradient; lax.fori_loop with a fixed length is a scan",
    "shard_map": "its program is that of one device; the same loss without it, on"
    " arrays that are split under jit, has the same products",
}
"""Why the products in some equations are refused."""

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
      chooses: Whether the first operand only decides which of the others is taken.
      taken: number of the value that says whether the branch of a product is taken;
        None outside of branches.
    """

    run: Callable[[Sequence[Any]], list[Any]]
    reads: Slots
    writes: Slots
    product: core.JaxprEqn | None = None
    path: Path = ()
    chooses: bool = False
    taken: int | None = None


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
      ValueError: a product is in a loop without a fixed length, in a `shard_map`, or of
        another kind than `SHOWN`.

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
        self._taken: int | None = None

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
        **details: Any,
    ) -> Slots:
        """Writes a step down; returns the numbers of its results."""
        writes = tuple(self.slot() for _ in range(results))
        self.steps.append(FlatStep(run, tuple(reads), writes, **details))
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
            shown = {"product": eqn, "path": path, "taken": self._taken}
            return self.write(run, reads, results, **shown)
        hidden = is_hidden(eqn) or is_product(eqn)
        if not hidden and not multiplies(eqn):
            return self.write(partial(_bound, eqn), reads, results)
        if name == "scan" and not hidden:
            return self._unrolled(eqn, reads, path)
        if name == "cond" and not hidden:
            return self._branches(eqn, reads, path)
        inner = None if hidden else called(eqn)
        if inner is None:
            reason = REASONS.get(name, why_hidden(eqn))
            raise ValueError(
                f"cost.training cannot count the multiplications of {name_of(eqn)!r}"
                f" ({reason}): it counts {', '.join(SHOWN)} in calls, scans and"
                " branches"
            )
        return self.follow(inner, reads, path)

    def _branches(self, eqn: core.JaxprEqn, reads: list[int], path: Path) -> Slots:
        """All branches, of which the results of one are taken."""
        (index, *operands), outer = reads, self._taken
        within = [index] if outer is None else [index, outer]
        results = []
        for i, branch in enumerate(eqn.params["branches"]):
            (taken,) = self.write(partial(_is_taken, i), within, 1)
            inputs = [
                self.write(_entered, [taken, slot], 1, chooses=True)[0]
                for slot in operands
            ]
            self._taken = taken
            results.append(self.follow(opened(branch), inputs, path))
        self._taken = outer
        return tuple(
            self.write(_chosen, [index, *alternatives], 1, chooses=True)[0]
            for alternatives in zip(*results, strict=True)
        )

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
            if step.taken is not None:
                needed.add(step.taken)
            found.append(step)
    return found[::-1]


def _bound(eqn: core.JaxprEqn, arrays: Sequence[Any]) -> list[Any]:
    roles = [Role.CONSTANT] * len(arrays)
    return arrays_of(bind(eqn, values_of(list(arrays), roles)))


def _is_taken(i: int, arrays: Sequence[Any]) -> list[Any]:
    """Whether a branch is taken, of an index and, inside another, of that one."""
    index, *outer = arrays
    return [jnp.logical_and(index == i, *outer) if outer else jnp.equal(index, i)]


def _entered(arrays: Sequence[Any]) -> list[Any]:
    """An operand of a branch; no gradient leaves one that is not taken, nor a NaN."""
    taken, x = arrays
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return [x]
    return [jnp.where(taken, x, lax.stop_gradient(x))]


def _chosen(arrays: Sequence[Any]) -> list[Any]:
    """The result of the branch that is taken."""
    index, *alternatives = arrays
    if len(alternatives) == 1:
        return alternatives
    return [lax.select_n(index, *alternatives)]


def _slice(i: int, arrays: Sequence[Any]) -> list[Any]:
    return [arrays[0][i]]


def _stack(shape: tuple[int, ...], dtype: Any, arrays: Sequence[Any]) -> list[Any]:
    return [jnp.stack(arrays) if arrays else jnp.zeros(shape, dtype)]
