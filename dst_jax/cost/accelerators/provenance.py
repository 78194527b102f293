"""The source of a number, as metadata of the fields of an accelerator."""

from typing import Any, Literal

__all__ = ["Status", "assumed", "memory", "read"]

Status = Literal["read", "memory", "assumed"]


def read(source: str, *, static: bool = False) -> dict[str, Any]:
    """A number that was read in `source`.

    Args:
      source: paper, table, repository.
      static: Whether the number sets shapes or loop counts, so that a change compiles
        anew.

    >>> read("a paper, table 1")
    {'source': 'a paper, table 1', 'status': 'read', 'static': False}
    """
    return _metadata(source, "read", static)


def memory(source: str, *, static: bool = False) -> dict[str, Any]:
    """A number from memory; `source` should have it, but has not been read.

    >>> memory("a paper")["status"]
    'memory'
    """
    return _metadata(source, "memory", static)


def assumed(source: str, *, static: bool = False) -> dict[str, Any]:
    """A number that we chose; `source` gives the reason.

    >>> assumed("a round number")["status"]
    'assumed'
    """
    return _metadata(source, "assumed", static)


def _metadata(source: str, status: Status, static: bool) -> dict[str, Any]:
    return {"source": source, "status": status, "static": static}
