"""SIGTERM and Ctrl-C ask the loop to save and stop; they never cut a step short."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

__all__ = ["Interrupt", "Interrupted"]


class Interrupted(Exception):
    """The run was asked to stop; its state is saved.

    >>> raise Interrupted("interrupted at step 8")
    Traceback (most recent call last):
    dst_jax.train.interrupt.Interrupted: interrupted at step 8
    """


class Interrupt:
    """A context in which SIGTERM and SIGINT only raise a flag.

    >>> with Interrupt() as interrupt:
    ...     interrupt.requested(8)
    False
    """

    def __init__(self) -> None:
        self._raised = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._raise)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._raised and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait
        self._raised = True

    def requested(self, step: int) -> bool:
        """Whether to stop now; on several hosts, all get the same answer."""
        if jax.process_count() == 1:
            return self._raised
        return self._raised or multihost_utils.reached_preemption_sync_point(step)

    def check(self) -> None:
        """Raises `Interrupted` between evaluation batches, where nothing is unsaved."""
        if self._raised and jax.process_count() == 1:
            raise Interrupted("interrupted during evaluation; nothing is lost")
