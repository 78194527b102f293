import pytest


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """Checks that a comparison is refused before it calls a function of the library."""

    def check(main, arguments, message, *, before, status):
        monkeypatch.setattr(before, None)
        assert main(tmp_path / "new", *arguments) == status
        assert message in capsys.readouterr().err
        assert not (tmp_path / "new").exists()

    return check
