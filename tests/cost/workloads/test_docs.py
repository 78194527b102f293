"""docs/hardware_files.md says what is so."""

import re
from pathlib import Path

import pytest

from dst_jax.cost import accelerators

PAGE = (Path(__file__).parents[3] / "docs/hardware_files.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_programs_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written, read, of_accelforge, small = PROGRAMS
    outputs = re.findall(r"--(?:out|csv|timeloop|accelforge) ([\w.]+)", PAGE)
    assert "masks.npz" in outputs
    for name in outputs:
        (tmp_path / name).write_text("written by a command")
    exec(written, {})
    assert {(tmp_path / name).read_text() for name in outputs} == {
        "written by a command"
    }
    assert "(4, 1, 64) (1, 64, 64) OpCounts(dense=16384," in capsys.readouterr().out
    names = {}
    exec(read, names)
    assert names["mask"].shape == (4, 1, 64)
    assert names["mask"].mean() == 0.5
    assert "accelforge" in of_accelforge  # make test-accelforge
    exec(small, names)
    assert names["SMALL"].multipliers == 256


def test_the_file_of_an_accelerator_is_one(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "ours.yaml"
    path.write_text(text)
    found = accelerators.create(str(path), kappa=1.2)
    assert (found.multipliers, found.kappa, found.clock) == (256, 1.2, 8e8)
    assert found.energy.name == "horowitz45"
