"""TensorBoard events."""

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dst_jax.runs import naming

__all__ = ["TensorBoard"]

_FLUSH = 30.0
"""Seconds after which what is pending is written."""


class TensorBoard:
    """TensorBoard events, where the extra `tensorboard` is installed.

    They are written by the thread that calls: the writer with a thread of its own waits
    forever once that thread has met a full disk.

    Args:
      directory: the directory of the event files.
      enabled: whether anything is written.

    >>> events = TensorBoard("runs/a/tensorboard", enabled=False)
    >>> events.scalars("pretrain/train", {"loss": 0.5}, step=8)
    """

    def __init__(self, directory: str, *, enabled: bool = True):
        self._writer: Any = None
        self._path = Path(directory)
        self._flushed = time.monotonic()
        if enabled:
            try:
                from tensorboardX import RecordWriter  # pyright: ignore
            except ImportError:
                return
            Path(directory).mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
            self._path = Path(directory) / name
            self._writer = RecordWriter(str(self._path))
            self._write(file_version="brain.Event:2")

    def scalars(self, prefix: str, values: Mapping[str, Any], step: int) -> None:
        """Writes every number of `values` under `prefix/name`."""
        if self._writer is None:
            return
        from tensorboardX.summary import scalar  # pyright: ignore

        for name, value in values.items():
            if isinstance(value, int | float):
                self._write(step=step, summary=scalar(f"{prefix}/{name}", value))
        if time.monotonic() - self._flushed > _FLUSH:
            with naming(self._path):
                self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Writes what is pending."""
        if self._writer is not None:
            with naming(self._path):
                self._writer.close()

    def _write(self, **entries: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore

        event = Event(wall_time=time.time(), **entries)
        with naming(self._path):
            self._writer.write(event.SerializeToString())
