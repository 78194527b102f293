"""Where scalars go while a network is trained, besides metrics.jsonl."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

__all__ = ["Events", "Together"]


@runtime_checkable
class Events(Protocol):
    """A log of scalars, such as TensorBoard's."""

    def scalars(self, prefix: str, values: Mapping[str, Any], step: int) -> None:
        """Writes every number of `values` under `prefix/name`."""

    def close(self) -> None:
        """Writes what is pending."""


class Together:
    """Several logs as one.

    Args:
      *logs: logs, which are written in this order.

    >>> Together().scalars("pretrain/train", {"loss": 0.5}, step=8)
    """

    def __init__(self, *logs: Events):
        self._logs = logs

    def scalars(self, prefix: str, values: Mapping[str, Any], step: int) -> None:
        """Writes every number of `values` to all logs."""
        for log in self._logs:
            log.scalars(prefix, values, step)

    def close(self) -> None:
        """Closes all logs."""
        for log in self._logs:
            log.close()
