"""Where a number comes from: metadata of the fields of an accelerator."""

from typing import Any, Literal

__all__ = ["Status", "assumed", "memory", "read"]

Status = Literal["read", "memory", "assumed"]


def read(source: str, *, static: bool = False) -> dict[str, Any]:
    """A number that was read in `source`.

    Args:
      source: paper, table, repository.
      static: whether it sets shapes or loop counts, so that changing it compiles anew.
    """
    return _metadata(source, "read", static)


def memory(source: str, *, static: bool = False) -> dict[str, Any]:
    """A number from memory: `source` should have it, nobody has looked."""
    return _metadata(source, "memory", static)


def assumed(source: str, *, static: bool = False) -> dict[str, Any]:
    """A number that we chose; `source` says why."""
    return _metadata(source, "assumed", static)


def _metadata(source: str, status: Status, static: bool) -> dict[str, Any]:
    return {"source": source, "status": status, "static": static}
