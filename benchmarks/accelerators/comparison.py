"""One published number, and the number of a model."""

from typing import NamedTuple

__all__ = ["Row"]


class Row(NamedTuple):
    """One comparison; the error is relative to what was published.

    `before` is what the model said when useful products alone took energy next to the
    multipliers.
    """

    design: str
    what: str
    published: float
    model: float
    before: float | None = None

    @property
    def error(self) -> float:
        return self.model / self.published - 1
