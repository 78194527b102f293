"""Several processes that train one network: how they meet, and how they part."""

import os
import sys
import threading
from typing import NoReturn

from experiments.running import last_words

__all__ = ["give_up_waiting", "join", "leave_if_lost", "leave_soon"]

_CONTINUE = "the same command in all of them continues"

_GRACE = 10.0
"""Seconds that a process which fails waits for the others to end as it does."""


def join(
    *,
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    timeout: int,
) -> None:
    """Waits for the other processes of a job.

    Args:
      coordinator: "HOST:PORT" of process 0; as the cluster says if None.
      processes: number of processes; as the cluster says if None.
      process_id: number of this process, from 0; as the cluster says if None.
      timeout: seconds after which the process ends with status 1.

    Raises:
      ValueError: no cluster says what is not given, or the address cannot be used.
    """
    import jax

    last_words.speak_for(f"error: another process is gone; {_CONTINUE}")
    where = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    # JAX would end the process by itself, after longer, with a C++ stack trace.
    line = _missing(where, process_id, timeout)
    timer = threading.Timer(timeout, give_up_waiting, [line])
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            coordinator, processes, process_id, initialization_timeout=timeout + 60
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).rstrip(".")
        raise ValueError(
            f"--run.multihost: {reason}. On a cluster that JAX does not know give"
            " --run.coordinator HOST:PORT, --run.processes and --run.process-id"
        ) from error
    finally:
        timer.cancel()


def give_up_waiting(line: str) -> NoReturn:
    """Prints a line and ends the process, whose main thread waits inside JAX.

    Args:
      line: what was waited for.
    """
    _end(f"error: {line}")


def leave_if_lost(error: Exception) -> None:
    """Ends a process that lost another one; returns if `error` says nothing of it.

    To end as usual would be to wait for the one that is gone.

    Args:
      error: what training raised.

    >>> leave_if_lost(ValueError("Gloo all-reduce failed"))  # a single process stays
    """
    import jax

    from dst_jax.train.agreement import is_lost

    if is_lost(error):
        reason = str(error).splitlines()[0][:200]
        _end(
            f"error: one of the {jax.process_count()} processes is gone ({reason});"
            f" {_CONTINUE}"
        )


def leave_soon() -> None:
    """Makes sure that a process which failed ends, though the others may go on.

    Where all fail alike they end together; where one fails alone the others would wait
    for it in the next step, and it for them at its end.

    >>> leave_soon()  # in a single process there is nobody to wait for
    """
    import jax

    if jax.distributed.is_initialized():
        timer = threading.Timer(_GRACE, os._exit, [1])
        timer.daemon = True
        timer.start()


def _missing(coordinator: str | None, process_id: int | None, timeout: int) -> str:
    where = f"at {coordinator}" if coordinator else "that the cluster names"
    if process_id == 0:
        found = f"not every process reached the coordinator {where} within {timeout} s"
        remedy = "start all of them"
    else:
        found = f"no answer from the coordinator {where} within {timeout} s"
        remedy = "start process 0 there"
    return f"{found}: {remedy}, or raise --run.coordinator-timeout"


def _end(line: str) -> NoReturn:
    print(line, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
