"""Packages of weights are found by name, compared by digest, and not imported."""

import hashlib
import sys

import pytest

from dst_jax.models.torch import packages

NAME = "efficientnet_lite0"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package in the place of the published one; importing it would fail."""
    own = packages.PACKAGES[NAME]
    file = tmp_path / own.distribution / own.file
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    (tmp_path / own.distribution / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(packages.PACKAGES, NAME, own._replace(sha256=digest))
    return file


def test_the_file_is_found_without_importing_the_package(installed):
    assert packages.find(NAME) == installed
    assert packages.PACKAGES[NAME].distribution not in sys.modules


def test_another_file_is_refused(installed):
    installed.write_bytes(b"weighty")
    with pytest.raises(ValueError, match="is not the published file: its SHA-256"):
        packages.find(NAME)
    installed.unlink()
    with pytest.raises(ValueError, match="does not exist: pip install --force-rein"):
        packages.find(NAME)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    own = packages.PACKAGES[NAME]._replace(distribution="not_on_this_machine")
    monkeypatch.setitem(packages.PACKAGES, NAME, own)
    with pytest.raises(ModuleNotFoundError) as error:
        packages.find(NAME)
    assert str(error.value) == (
        "not_on_this_machine is not installed: pip install 'dst_jax[efficientnet]', or"
        " pip install not_on_this_machine"
    )


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'efficientnet_lite0'"):
        packages.find("efficientnet_lite")
