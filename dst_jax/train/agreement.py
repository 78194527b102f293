"""What processes do alike: what one does for all of them, and what they agree on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from dst_jax.runs import Run

__all__ = ["agreed", "anywhere", "by_first_process", "is_lost", "locked"]

T = TypeVar("T")

_LOST = (
    "Gloo",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "heartbeat",
    "coordination service",
)
"""What errors of JAX hold when another process is gone."""


def by_first_process(what: str, work: Callable[[], T]) -> T | None:
    """The outcome of `work`, which process 0 does alone; None on the others.

    Every process waits until it is done, and none goes on if it fails.

    Args:
      what: description of the work, for the message of the other processes.
      work: function without arguments.

    Raises:
      ValueError: on the other processes, if the work failed on process 0.

    >>> by_first_process("add", lambda: 1 + 1)
    2
    """
    found, failure = None, None
    if jax.process_index() == 0:
        try:
            found = work()
        except Exception as error:  # whatever it is, the others wait to hear of it
            failure = error
    if jax.process_count() > 1:
        failed = multihost_utils.broadcast_one_to_all(np.array(failure is not None))
        if failed and failure is None:
            raise ValueError(f"process 0 could not {what}: its message says why")
    if failure is not None:
        raise failure
    return found


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """A context in which this job alone writes in a run directory.

    Raises:
      InUse: another job does; on process 0.
      ValueError: likewise, on the other processes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Run(folder)):
    ...     (Run(folder).path / "lock.json").exists()
    True
    """
    with ExitStack() as held:
        by_first_process(
            f"lock {run.path}", lambda: held.enter_context(run.lock()) and None
        )
        yield


def agreed(answer: bool) -> bool:
    """The first process's answer, in every process; all of them must ask.

    What depends on files is decided once: a file may be there on one host and not yet
    on another, and then one would enter a computation that the other does not.

    Args:
      answer: answer of this process.

    >>> agreed(True)
    True
    """
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.broadcast_one_to_all(np.array(answer)))


def anywhere(flags: np.ndarray) -> np.ndarray:
    """Whether a flag is true in any process, for every flag; all of them must ask.

    Args:
      flags: bool array, of one shape in every process.

    >>> anywhere(np.array([True, False])).tolist()
    [True, False]
    """
    if jax.process_count() == 1:
        return flags
    return np.any(multihost_utils.process_allgather(flags), axis=0)


def is_lost(error: BaseException | None) -> bool:
    """Whether an error says that another process is gone, which nothing can wait for.

    >>> is_lost(ValueError("Gloo all-reduce failed"))  # a single process has no other
    False
    """
    if error is None or not any(text in str(error) for text in _LOST):
        return False
    return jax.process_count() > 1
