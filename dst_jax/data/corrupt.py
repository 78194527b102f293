"""Corrupt records: each is reported and counted once; too many are an error."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

__all__ = ["CorruptLog", "CorruptRecord", "reading"]

_logger = logging.getLogger(__name__)


class CorruptRecord(Exception):
    """A record that cannot be read or decoded, or whose contents are impossible.

    Attributes:
      key: name of the record, such as `mnist train[17]`.
      reason: description of the fault.
    """

    def __init__(self, key: str, reason: str):
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Turns any error inside into a `CorruptRecord` with this key.

    >>> try:
    ...     with reading("mnist train[17]"):
    ...         raise OSError("truncated")
    ... except CorruptRecord as record:
    ...     print(record)
    mnist train[17]: OSError: truncated
    """
    # Damaged bytes fail in any way: RuntimeError from ArrayRecord, DecodeError from
    # protobuf, OSError, SyntaxError, ValueError, struct.error and more from Pillow.
    try:
        yield
    except Exception as error:
        raise CorruptRecord(key, f"{type(error).__name__}: {error}") from error


class CorruptLog:
    """The corrupt records met so far; each is reported once, to `logging`.

    Threads can share it. A worker process has a copy of its own: then counts and limit
    are per worker, and the parent does not see them.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self._records: dict[str, CorruptRecord] = {}

    def __len__(self) -> int:
        return len(self._records)

    @property
    def reasons(self) -> Mapping[str, str]:
        """The fault of each corrupt record by key, in the order met.

        >>> log = CorruptLog(limit=1)
        >>> log.add(CorruptRecord("mnist train[17]", "truncated"))
        >>> dict(log.reasons)
        {'mnist train[17]': 'truncated'}
        """
        records = self._records.copy()  # other threads may be adding to it
        return MappingProxyType({key: r.reason for key, r in records.items()})

    def add(self, record: CorruptRecord) -> None:
        """Counts and reports a record, unless that has been done before.

        Raises:
          ValueError: there are more records than `limit`; the message names the key.

        >>> log = CorruptLog(limit=1)
        >>> for _ in range(2):  # the same record counts once
        ...     log.add(CorruptRecord("mnist train[17]", "truncated"))
        >>> len(log)
        1
        >>> log.add(CorruptRecord("mnist train[18]", "truncated"))
        Traceback (most recent call last):
        ValueError: more than corrupt_limit=1 corrupt records, the last one is ...
        """
        # A fresh exception, without the traceback that would keep its frames alive;
        # setdefault is atomic, so of several threads one reports the record.
        entry = CorruptRecord(record.key, record.reason)
        if self._records.setdefault(entry.key, entry) is entry:
            _logger.warning("corrupt record left out: %s", entry)
        if len(self._records) > self.limit:
            raise ValueError(
                f"more than corrupt_limit={self.limit} corrupt records, the last one "
                f"is {entry}"
            ) from record
