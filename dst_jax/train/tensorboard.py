"""TensorBoard events."""

from collections.abc import Mapping
from typing import Any

__all__ = ["TensorBoard"]


class TensorBoard:
    """TensorBoard events, where the extra `tensorboard` is installed.

    Args:
      directory: directory of the event files.
      enabled: whether anything is written.

    >>> events = TensorBoard("runs/a/tensorboard", enabled=False)
    >>> events.scalars("pretrain/train", {"loss": 0.5}, step=8)
    """

    def __init__(self, directory: str, *, enabled: bool = True):
        self._writer: Any = None
        if enabled:
            try:
                from tensorboardX import SummaryWriter  # pyright: ignore
            except ImportError:
                return
            self._writer = SummaryWriter(directory)

    def scalars(self, prefix: str, values: Mapping[str, Any], step: int) -> None:
        """Writes every number of `values` under `prefix/name`."""
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{prefix}/{name}", value, step)

    def close(self) -> None:
        """Writes what is pending."""
        if self._writer is not None:
            self._writer.close()
