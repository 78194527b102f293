import pytest

from experiments import background, compare_penalties
from experiments.grid.launch import main as compare


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("comparisons") / "penalties"
    argv = ["--preset", "demo", "--dir", str(path), "--grid", "l1 strength=1e-4"]
    argv += ["--pretrain.epochs", "1", "--cells.epochs", "1"]
    assert (
        compare("compare_penalties", compare_penalties.PRESETS, doc="", argv=argv) == 0
    )
    return path


@pytest.mark.slow
def test_every_seed_has_its_channels(directory, capsys):
    assert background.main([str(directory)]) == 0
    _, _, below = capsys.readouterr().out.rpartition("─")
    rows = below.strip().splitlines()
    assert [row.split()[0] for row in rows] == ["0", "1"]
    for row in rows:
        _, on, _, channels, black, *_ = row.split()
        assert int(channels) == 6
        assert float(black) == pytest.approx(100 * (1 - int(on) / 6), abs=0.01)


def test_another_directory_is_refused(tmp_path, capsys):
    assert background.main([str(tmp_path)]) == 2
    assert "is not a comparison of compare_penalties" in capsys.readouterr().err
