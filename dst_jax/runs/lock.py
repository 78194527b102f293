"""One writer for a run directory: a lock file that says who writes.

How far it works:

- On one host, always. The system releases a lock when its process ends, however that
  happens; the next process sees that and takes the file over. Where the file system
  has no locks, the process number and its start time decide, so that a process that
  was given the number of a dead one does not count.
- On a disk that several hosts share, the file is made by one of them only, and every
  other host is refused as long as it is there. Whether the process on the other host
  is alive cannot be seen from here: after a crash of that host, remove the file.
"""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["LOCK", "InUse", "check_path", "hold"]

LOCK = "lock.json"
"""The name of the lock file."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What systems say of a file system that has no locks."""


_PATTERNS = frozenset("*?[")

_PATIENCE = 50
"""How often a lock file that says nothing is read again."""


class InUse(ValueError):
    """Another process writes in the directory; the message names it.

    >>> raise InUse("runs/a is in use by process 7 on node1 since 2026-01-01T00:00:00")
    Traceback (most recent call last):
    dst_jax.runs.lock.InUse: runs/a is in use by process 7 on node1 since ...
    """


def check_path(path: Path) -> None:
    """Refuses a directory whose checkpoints could not be read back.

    Orbax finds the files of a checkpoint by a pattern that the path is part of.

    Args:
      path: the directory of a run or of checkpoints.

    Raises:
      ValueError: its absolute path has a character of patterns.

    >>> check_path(Path("/runs/lr[0.1]"))
    Traceback (most recent call last):
    ValueError: /runs/lr[0.1] has '[' in its path, with which checkpoints cannot be ...
    """
    found = [c for c in str(Path(path).absolute()) if c in _PATTERNS]
    if found:
        raise ValueError(
            f"{path} has {found[0]!r} in its path, with which checkpoints cannot be"
            " read back; choose a run directory whose path has none of * ? ["
        )


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """A context in which this process alone writes in a directory.

    Args:
      directory: the directory, which is made if it is not there.

    Raises:
      InUse: another process holds it, or did on another host.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with hold(Path(folder)):
    ...         with hold(Path(folder)):
    ...             pass
    Traceback (most recent call last):
    dst_jax.runs.lock.InUse: ... is in use by process ... on ... since ...
    """
    empty = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK
    while True:
        file = _made(path)
        if file is None:
            file = _taken_over(path)
        if file is not None:
            break
    try:
        _write_owner(file)
        yield
    finally:
        # Removed while it is locked: who opens the same file now sees that it is gone.
        with suppress(OSError):
            path.unlink()
        os.close(file)
        if empty:
            with suppress(OSError):  # something was written
                directory.rmdir()


def _made(path: Path) -> int | None:
    """The lock file, if this process is the one that makes it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    _lock(file, path)
    return file


def _taken_over(path: Path) -> int | None:
    """The lock file of a dead process; None if it was removed in the meantime."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    _lock(file, path)
    try:
        _refuse_owner(path)
        if os.path.samestat(os.fstat(file), os.stat(path)):
            return file
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _lock(file: int, path: Path) -> None:
    """Locks an open file where the file system can."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return
        os.close(file)
        if isinstance(error, BlockingIOError):
            raise InUse(_refusal(path, _owner(path))) from None
        raise


def _refuse_owner(path: Path) -> None:
    """Refuses a directory whose owner may still be at work."""
    owner = _owner(path)
    if owner is None:
        return
    if owner.get("host") != socket.gethostname():
        raise InUse(
            f"{_refusal(path, owner)}. If that process has ended, remove {path}"
        )
    if _is_alive(owner):
        raise InUse(_refusal(path, owner))


def _refusal(path: Path, owner: dict[str, Any] | None) -> str:
    if owner is None:
        return f"{path.parent} is in use by another process"
    return (
        f"{path.parent} is in use by process {owner.get('pid')} on"
        f" {owner.get('host')} since {owner.get('since')}"
    )


def _owner(path: Path) -> dict[str, Any] | None:
    """What the lock file says; None if it goes on saying nothing."""
    for _ in range(_PATIENCE):
        with suppress(OSError, ValueError):
            found = json.loads(path.read_bytes())
            return found if isinstance(found, dict) else None
        if not path.exists():
            break
        time.sleep(0.01)  # who has just made it is about to write
    return None


def _write_owner(file: int) -> None:
    owner = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "process_start": _process_start(os.getpid()),
        "boot": _boot(),
    }
    os.ftruncate(file, 0)
    os.pwrite(file, (json.dumps(owner, indent=2) + "\n").encode(), 0)


def _is_alive(owner: dict[str, Any]) -> bool:
    pid = owner.get("pid")
    if not isinstance(pid, int) or owner.get("boot") != _boot():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        pass
    return owner.get("process_start") == _process_start(pid)


def _process_start(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot; None where not told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19])


def _boot() -> str | None:
    """What the system calls the time since it was started; None where it does not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
