"""Versions of installed packages, as a run records them."""

from importlib import metadata

__all__ = ["UNKNOWN", "installed_version"]

UNKNOWN = "0+unknown"
"""The version of a package that is imported from where it was never installed."""


def installed_version(package: str) -> str:
    """The version of a package, or `UNKNOWN` in a source tree that is not installed.

    Args:
      package: name of a distribution, as pip takes it.

    >>> installed_version("no-such-package")
    '0+unknown'
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return UNKNOWN
