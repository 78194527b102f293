"""What a run records of the code it ran with."""

import shutil
import subprocess
from importlib import metadata

import pytest

from dst_jax.train import records


def test_a_source_tree_that_is_not_installed_has_a_version(monkeypatch):
    def version(name, ask=metadata.version):
        if name in ("dst_jax", "grain"):
            raise metadata.PackageNotFoundError(name)
        return ask(name)

    monkeypatch.setattr(metadata, "version", version)
    versions = records.provenance()["versions"]
    assert versions["dst_jax"] == versions["grain"] == "0+unknown"
    assert versions["jax"] == metadata.version("jax")


@pytest.fixture
def repository(tmp_path):
    """A repository with one committed file, and another one that git ignores."""
    if shutil.which("git") is None:
        pytest.skip("needs git")

    def git(*arguments):
        own = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=0")
        subprocess.run(["git", "-C", tmp_path, *own, *arguments], check=True)

    (tmp_path / "tracked.py").touch()
    (tmp_path / ".gitignore").write_text("/lib/\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "installed.py").touch()
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Start")
    return tmp_path


def test_the_revision_is_that_of_the_package(repository, monkeypatch):
    monkeypatch.setattr(records, "__file__", str(repository / "tracked.py"))
    found = records.provenance()["git"]
    assert len(found["revision"]) == 40
    assert not found["dirty"]
    (repository / "tracked.py").write_text("pass")
    assert records.provenance()["git"]["dirty"]


def test_a_package_installed_below_a_repository_is_no_part_of_it(
    repository, monkeypatch
):
    monkeypatch.setattr(records, "__file__", str(repository / "lib" / "installed.py"))
    assert records.provenance()["git"] is None
