"""The table of the smallest storage format of every tensor."""

from collections.abc import Sequence

from dst_jax.report.run_results import StageResults
from dst_jax.report.storage_records import StoredTensor
from dst_jax.report.tables.table import Table, number, percent

__all__ = ["storage"]

_KINDS = {"weight": "weights", "map": "activation maps"}


def storage(stage: StageResults) -> Table:
    """The smallest format of every tensor after one stage, and its size.

    >>> bits = {"dense": 64, "csr": 32}
    >>> fc = StoredTensor("weight", "fc/kernel", 8, 2, bits, "csr", 8, 1)
    >>> storage(StageResults("static", "pruned", {}, 8, storage=(fc,))).rows[0]
    ('fc/kernel', 'weights', '8', '75.00', 'csr', '4', '50.00')
    """
    found = stage.storage
    totals = []
    for kind in _KINDS:
        own = [tensor for tensor in found if tensor.kind == kind]
        if own:
            totals.append(("all", _KINDS[kind], *_sizes(own, "")))
    return Table(
        title=f"Smallest storage format per tensor: {stage.title}",
        headings=(
            "tensor",
            "of",
            "elements",
            "zeros %",
            "format",
            "bytes",
            "of dense %",
        ),
        rows=(
            *(
                (tensor.name, _KINDS[tensor.kind], *_sizes([tensor], tensor.format))
                for tensor in found
            ),
            *totals,
        ),
        note=_note(found),
        words=2,
        totals=len(totals),
    )


def _sizes(tensors: Sequence[StoredTensor], form: str) -> tuple[str, ...]:
    elements = sum(tensor.elements for tensor in tensors)
    nonzeros = sum(tensor.nonzeros for tensor in tensors)
    fewest = sum(tensor.fewest for tensor in tensors)
    dense = sum(tensor.bits["dense"] for tensor in tensors)
    return (
        number(elements),
        percent(1 - nonzeros / elements if elements else None),
        form,
        number(-(-fewest // 8)),
        percent(fewest / dense if dense else None),
    )


def _note(tensors: Sequence[StoredTensor]) -> str:
    if not tensors:
        return ""
    return (
        f"Values of {tensors[0].value_bits} bits; of the formats of "
        "`dst_jax.cost.table`, the one of fewest bits, indices and bitmasks included. "
        f"Maps are of the first {tensors[0].examples} test images together."
    )
