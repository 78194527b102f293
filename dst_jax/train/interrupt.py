"""SIGTERM and Ctrl-C ask the loop to save and stop; they never cut a step short."""

import os
import signal
import threading
from types import FrameType

import jax
import numpy as np
from jax.experimental import multihost_utils

__all__ = ["Interrupt", "Interrupted"]

_BETWEEN = 10
"""Questions between agreements where JAX's preemption service is switched off."""


class Interrupted(Exception):
    """The run was asked to stop; its state is saved.

    >>> raise Interrupted("interrupted at step 8")
    Traceback (most recent call last):
    dst_jax.train.interrupt.Interrupted: interrupted at step 8
    """


class Interrupt:
    """A context in which SIGTERM and SIGINT only raise a flag.

    A second Ctrl-C does what the first would have done outside. Several processes stop
    together, whichever of them a signal reaches: no process acts on its own flag. JAX's
    preemption service, which `jax.distributed.initialize` starts, tells them where; it
    has a handler of SIGTERM of its own, which stays.

    >>> with Interrupt() as interrupt:
    ...     interrupt.requested(8)
    False
    """

    _asked = 0
    """Questions of this process so far: the service counts on, whoever asks."""

    def __init__(self) -> None:
        self._raised = False
        self._agreed = False
        self._service = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interrupt":
        self._service = jax.process_count() > 1 and _has_service()
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, *([] if self._service else [signal.SIGTERM])]
            for number in numbers:
                self._previous[number] = signal.signal(number, self._raise)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._previous.clear()

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._raised and number == signal.SIGINT:  # a second Ctrl-C does not wait
            previous = self._previous[number]
            if callable(previous):
                previous(number, frame)
            return
        self._raised = True
        if self._service:
            os.kill(os.getpid(), signal.SIGTERM)  # which the service tells the others

    def requested(self, step: int) -> bool:
        """Whether to stop now; on several hosts, all get the same answer.

        Every process must ask equally often.
        """
        del step
        return self._stops()

    def check(self) -> None:
        """Raises `Interrupted` between evaluation batches, where nothing is unsaved."""
        if self._stops():
            raise Interrupted("interrupted during evaluation; nothing is lost")

    def _stops(self) -> bool:
        if jax.process_count() == 1:
            return self._raised
        Interrupt._asked += 1
        if self._service:
            reached = multihost_utils.reached_preemption_sync_point(Interrupt._asked)
            self._agreed = self._agreed or reached
        elif Interrupt._asked % _BETWEEN == 0:
            flags = multihost_utils.process_allgather(np.array(self._raised))
            self._agreed = bool(flags.any())
        return self._agreed


def _has_service() -> bool:
    """Whether JAX's preemption service runs in this process."""
    try:
        multihost_utils.reached_preemption_sync_point(Interrupt._asked)
    except RuntimeError:
        return False
    return True
