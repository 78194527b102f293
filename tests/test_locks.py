"""The lock files: complete, with a hash for everything, and without an index."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = [ROOT / "requirements" / f"ci-3.{minor}.txt" for minor in (11, 12, 13)]


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_everything_is_locked_with_a_hash(lock):
    text = re.sub(r"#.*", "", lock.read_text()).replace("\\\n", " ")
    locked = [line.split() for line in text.splitlines() if line.strip()]
    for name, *hashes in locked:
        assert re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==[\w.+!]+", name)
        assert hashes, name
        assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", x) for x in hashes), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    asked += ["hatchling", "editables"]
    assert {_name(x) for x in asked} <= {_name(name) for name, *_ in locked}


def test_the_workflow_installs_from_them():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "LOCKED=1" in workflow
    for minor in (11, 12, 13):
        assert f'python: "3.{minor}"' in workflow
