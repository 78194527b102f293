"""The counts of one operation, and their sums over operations and batches."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, get_args

from dst_jax import checks
from dst_jax.jaxprs.exact_integers import Count
from dst_jax.jaxprs.operand_roles import Role, activation_side
from dst_jax.jaxprs.values import Uncounted

__all__ = [
    "Counts",
    "OpCounts",
    "WeightCounts",
    "accumulate",
    "apart",
    "as_dict",
    "by_side",
    "drop",
    "total",
]

Reference = Literal["dense", "valid"]
Kind = Literal["activations", "weights", "all"]


class OpCounts(NamedTuple):
    """Multiplications of one operation: `Count` on the device, int on the host.

    effectual <= by_activation, by_weight <= valid <= dense.

    Attributes:
      dense: all products, those with padding included.
      valid: products of two stored elements: without padding and without the zeros
        that `lhs_dilation` inserts.
      by_activation: valid products whose activation is nonzero.
      by_weight: valid products whose weight is nonzero.
      effectual: valid products whose operands are both nonzero.

    >>> OpCounts(dense=8, valid=4, by_activation=4, by_weight=2, effectual=2).valid
    4
    """

    dense: Count | int
    valid: Count | int
    by_activation: Count | int
    by_weight: Count | int
    effectual: Count | int


class WeightCounts(OpCounts):
    """Multiplications of a product of two weights, which no activation takes part in.

    Low-rank factors that are multiplied out, folded kernels, power iterations: their
    number does not depend on the batch. `by_activation` is `effectual`, `by_weight` is
    `valid`.

    >>> import jax.numpy as jnp
    >>> from dst_jax import cost
    >>> count = cost.count(lambda w, x: x @ (w[0] @ w[1]))
    >>> counts = count((jnp.ones((4, 1)), jnp.ones((1, 4))), jnp.ones((2, 4)))
    >>> [(type(op).__name__, int(op.dense)) for op in counts.values()]
    [('WeightCounts', 16), ('OpCounts', 32)]
    """

    __slots__ = ()


Counts = Mapping[str, OpCounts]


def by_side(
    dense: Count,
    valid: Count,
    by_lhs: Count,
    by_rhs: Count,
    effectual: Count,
    *,
    roles: tuple[Role, Role],
) -> OpCounts:
    """The counts of an operation whose operands have these roles.

    Args:
      dense, valid, effectual: as in `OpCounts`.
      by_lhs, by_rhs: valid products whose left or right operand is nonzero.
      roles: roles of the left and of the right operand.

    >>> numbers = map(Count.of, (8, 8, 4, 6, 3))
    >>> by_side(*numbers, roles=(Role.WEIGHT, Role.DATA)).by_weight
    Count(4)
    """
    side = activation_side(*roles)
    by = {"lhs": (by_lhs, by_rhs), "rhs": (by_rhs, by_lhs), None: (effectual, valid)}
    kind = WeightCounts if roles == (Role.WEIGHT, Role.WEIGHT) else OpCounts
    return kind(dense, valid, *by[side], effectual)


def total(counts: Counts, *, of: Kind = "activations") -> OpCounts:
    """The sum over operations; on the device if the counts are there.

    Args:
      counts: counts by operation.
      of: operations to add: those with an activation, products of two weights (see
        `WeightCounts`), or "all".

    Raises:
      ValueError: an unknown `of`, or an operation is `Uncounted`.

    >>> counts = {"a": OpCounts(4, 4, 2, 3, 1), "b": OpCounts(1, 1, 1, 1, 1)}
    >>> total(counts)
    OpCounts(dense=5, valid=5, by_activation=3, by_weight=4, effectual=2)
    >>> total(counts | {"fold": WeightCounts(9, 9, 9, 9, 9)}, of="weights").dense
    9
    """
    checks.one_of("of", of, get_args(Kind))
    _check_counted(counts)
    activations, weights = apart(counts)
    added = {"activations": activations, "weights": weights, "all": counts}[of]
    return OpCounts(*(sum(field) for field in _columns(added.values())))


def apart(counts: Counts) -> tuple[dict[str, OpCounts], dict[str, WeightCounts]]:
    """The operations with an activation, and the products of two weights.

    >>> fc, fold = OpCounts(4, 4, 2, 3, 1), WeightCounts(9, 9, 9, 9, 9)
    >>> [list(part) for part in apart({"fc": fc, "fold": fold})]
    [['fc'], ['fold']]
    """
    weights = {k: op for k, op in counts.items() if isinstance(op, WeightCounts)}
    return {k: op for k, op in counts.items() if k not in weights}, weights


def drop(counts: Counts | OpCounts, *, reference: Reference = "dense") -> float:
    """The fraction of multiplications saved: `1 - effectual / reference`.

    Products of two weights do not count, see `total`.

    Args:
      counts: counts of all operations, or of one.
      reference: reference of the fraction: "dense" counts products with padding as
        saved, "valid" does not.

    Raises:
      ValueError: an unknown reference, or nothing was counted.

    >>> drop({"conv1": OpCounts(dense=8, valid=4, by_activation=4, by_weight=2,
    ...                         effectual=2)})
    0.75
    """
    checks.one_of("reference", reference, get_args(Reference))
    summed = counts if isinstance(counts, OpCounts) else total(counts)
    whole = int(getattr(summed, reference))
    if whole == 0:
        raise ValueError(f"counts hold no {reference} multiplications to compare with")
    return 1 - int(summed.effectual) / whole


def accumulate(batches: Iterable[Counts]) -> dict[str, OpCounts]:
    """The sum over batches in Python integers, which never overflow.

    Args:
      batches: counts of one function on several batches, on device or host.

    Returns:
      Counts of Python integers; empty if there are no batches.

    Raises:
      ValueError: a batch names other operations than the first, or an operation is
        `Uncounted`.

    >>> batch = {"fc": OpCounts(4, 4, 2, 3, 1)}
    >>> accumulate([batch, batch])["fc"].effectual
    2
    """
    sums: dict[str, OpCounts] = {}
    for i, batch in enumerate(batches):
        _check_counted(batch)
        if i == 0:
            sums = {name: type(op)(0, 0, 0, 0, 0) for name, op in batch.items()}
        elif sums.keys() != batch.keys():
            differing = ", ".join(sorted(sums.keys() ^ batch.keys()))
            raise ValueError(f"batch {i} and batch 0 differ in: {differing}")
        sums = {name: _add_ints(sums[name], batch[name]) for name in sums}
    return sums


def as_dict(counts: Counts) -> dict[str, dict[str, int]]:
    """The counts as plain dicts of Python integers, ready for JSON.

    Raises:
      ValueError: an operation is `Uncounted`.

    >>> as_dict({"fc": OpCounts(4, 4, 2, 3, 1)})["fc"]["by_weight"]
    3
    """
    _check_counted(counts)
    return {
        name: {field: int(n) for field, n in op._asdict().items()}
        for name, op in counts.items()
    }


def _check_counted(counts: Counts) -> None:
    hidden = [name for name, op in counts.items() if isinstance(op, Uncounted)]
    if hidden:
        raise ValueError(
            f"counts of {hidden} are unknown: leave out what is a cost.Uncounted"
        )


def _columns(ops: Iterable[OpCounts]) -> list[list[Count | int]]:
    rows = list(ops)
    return [[row[i] for row in rows] for i in range(len(OpCounts._fields))]


def _add_ints(a: OpCounts, b: OpCounts) -> OpCounts:
    return type(a)(*(int(x) + int(y) for x, y in zip(a, b, strict=True)))
