"""What `python -m experiments` lists, for those who have the wheel alone."""

import re
import subprocess
import sys
from pathlib import Path

from experiments import __main__ as commands

ROOT = Path(__file__).parents[2]


def test_every_command_and_every_page_is_listed(capsys):
    assert commands.main() == 0
    said = capsys.readouterr().out
    for file in ROOT.glob("experiments/*.py"):
        assert (f"  {file.stem} " in said) == (not file.stem.startswith("_"))
    assert re.search(r"^  accelerators +A finished run on modelled", said, re.M)
    for file in (*ROOT.glob("docs/*.md"), *ROOT.glob("docs/tutorials/*.md")):
        is_page = file.stem not in ("index", "benchmarks", "changelog")
        assert (f"  {file.relative_to(ROOT / 'docs')} " in said) == is_page
    assert re.search(r"^  tutorials/counting\.md +Counting any function$", said, re.M)
    assert f"in {ROOT / 'docs'}:" in said


def test_the_pages_of_an_installed_package_are_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(commands, "_ROOT", tmp_path)
    for name in ("experiments/a.py", "dst_jax/docs/b.md"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(
            '"""Does a."""\n' if name[0] == "e" else "# Of b\n"
        )
    assert commands.main() == 0
    said = capsys.readouterr().out
    assert "  a  Does a.\n" in said
    assert f"in {tmp_path / 'dst_jax' / 'docs'}:\n\n  b.md  Of b\n" in said


def test_a_list_imports_nothing_slow():
    program = (
        "import runpy, sys\n"
        "try: runpy.run_module('experiments', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'flax', 'rich', 'tyro'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
