"""The source of a number: of an accelerator's fields, and of an energy table's."""

from typing import Any, Literal, NamedTuple

__all__ = ["NumberSource", "Status", "assumed", "memory", "read"]

Status = Literal["read", "memory", "assumed"]


class NumberSource(NamedTuple):
    """The source of one number.

    Attributes:
      value: value of the number.
      source: paper, table, repository; or the reason for the choice.
      status: "read" in the source; "memory", not verified; "assumed", our choice.
    """

    value: Any
    source: str
    status: Status


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
