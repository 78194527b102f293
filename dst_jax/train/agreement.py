"""What one process does for all of them, and all of them learn the outcome of."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from dst_jax.runs import Run

__all__ = ["by_first_process", "locked"]

T = TypeVar("T")


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
