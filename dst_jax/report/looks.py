"""The colour and the marker of every stage, method and penalty, the same everywhere.

Colours of stages differ for colour-blind readers too; so do those of the first eight
methods and penalties. Of more, no two have both a similar colour and the same marker.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["GLYPHS", "MARKERS", "Look", "family", "looks"]

MARKERS = "osD^vPX*"
"""Markers of Matplotlib, in the order in which names and runs take them."""

GLYPHS = dict(zip(MARKERS, "●■◆▲▼✚✖★", strict=True))
"""The same markers as characters."""


class Look(NamedTuple):
    """How a name is drawn.

    Attributes:
      colour: colour as "#rrggbb".
      marker: marker of Matplotlib, one of `MARKERS`.
    """

    colour: str
    marker: str


_STAGES = {
    "untrained start": Look("#a9afb5", "v"),
    "given weights": Look("#202124", "X"),
    "dense baseline": Look("#5f6368", "o"),
    "dense control": Look("#ce9b34", "s"),
    "pruned": Look("#34468e", "D"),
    "smaller": Look("#c15d11", "P"),
    "activation-sparse": Look("#51967e", "^"),
    "dual sparse": Look("#8d1a1e", "*"),
}
_CELLS = {
    "dense": _STAGES["dense baseline"],
    "baseline": _STAGES["dense baseline"],
    "control": _STAGES["dense control"],
}
_PALETTE = (
    "#6d6e1d", "#bf8ae6", "#4f0e8a", "#760a03", "#fa7c20", "#c91b86", "#68b88f",
    "#0d69f2", "#349ab6", "#034649", "#806fcd", "#9012a8", "#ad7d84", "#6d4934",
    "#556a8c", "#e62845", "#930660", "#72ad0c", "#6432cd", "#519160", "#974e66",
    "#de65bb", "#c167fb", "#cd995c",
)  # fmt: skip
_METHODS = (
    "rigl", "set", "random", "gradual_magnitude", "granet", "static", "east", "chase",
    "sr_ste", "mest", "srigl", "ste", "rigl_itop", "gap", "one_shot",
    "gradual_movement", "threshold", "ac_dc", "auto_sparse", "constrained_l0", "halo",
)  # fmt: skip
_PENALTIES = (
    "transformed_l1", "l1", "hoyer_square", "log_sum", "mcp", "laplace", "scad",
    "geman", "cauchy", "lp", "l_half", "l_two_thirds", "capped_l1", "l0", "hoyer",
    "hoyer_square_batch", "l1_minus_l2", "group_lasso",
)  # fmt: skip


def _of_palette(i: int) -> Look:
    return Look(_PALETTE[i % len(_PALETTE)], MARKERS[i % len(MARKERS)])


_KNOWN = {
    **{name: _of_palette(i) for i, name in enumerate(_METHODS)},
    **{name: _of_palette(i) for i, name in enumerate(_PENALTIES)},
    **_CELLS,
    **_STAGES,
}


def looks(names: Sequence[str]) -> dict[str, Look]:
    """How each stage, method, penalty or other name is drawn, the same everywhere.

    Any other name has a look that follows from its letters, unless another name next
    to it has that colour already.

    Args:
      names: names that are shown together.

    >>> looks(["pruned"])
    {'pruned': Look(colour='#34468e', marker='D')}
    >>> looks(["my_penalty", "l1"])["l1"] == looks(["l1"])["l1"]
    True
    """
    found = {name: _KNOWN[name] for name in names if name in _KNOWN}
    for name in dict.fromkeys(names):
        if name not in found:
            first = zlib.crc32(name.encode())
            taken = {look.colour for look in found.values()}
            order = [_of_palette(first + i) for i in range(len(_PALETTE))]
            free = [look for look in order if look.colour not in taken]
            found[name] = (free or order)[0]
    return {name: found[name] for name in names}


def family(text: str) -> str:
    """The stage, method or penalty that a text begins with; the text if it is none.

    Args:
      text: name of a training, such as a method and its options.

    >>> family("hoyer_square_0.5"), family("chase channel_sparsity=0"), family("mine")
    ('hoyer_square', 'chase', 'mine')
    """
    found = [name for name in _KNOWN if text.startswith((f"{name}_", f"{name} "))]
    return text if text in _KNOWN else max(found, key=len, default=text)
