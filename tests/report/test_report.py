import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image
from rich.console import Console

from dst_jax import report
from dst_jax.report import html, pages
from dst_jax.report.__main__ import main
from dst_jax.report.load import load


class Page(HTMLParser):
    """Rows of text, attributes that load something, and all visible text."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.loads, self.tags, self.text = [], [], [], ""
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [
            value for name, value in attrs if name in ("src", "srcset", "href", "data")
        ]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = False

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.rows[-1][-1] += data

    def row(self, *start):
        return next(r for r in self.rows if tuple(r[: len(start)]) == start)


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def test_write_puts_the_report_and_its_figures_into_the_run(make_run):
    run = make_run()
    path = report.write(run)
    assert path == run / "report.html"
    figures = sorted((run / "figures").iterdir())
    assert [figure.name for figure in figures] == [
        "flops_per_layer.png",
        "sparsity_per_layer.png",
        "training.png",
    ]
    for figure in figures:
        with Image.open(figure) as image:
            image.load()
            assert image.width == 2000
            assert image.info.keys() <= {"dpi"}


def test_the_page_has_the_numbers(make_run):
    page = read(report.write(make_run()))
    assert page.row("dual sparse", "90.50") == [
        *("dual sparse", "90.50", "+0.50", "99.00", "60.00"),
        *("76.00", "77.50", "59.00", "54.44"),
    ]
    assert page.row("pruned", "1.250") == ["pruned", "1.250", "0.9600"]
    assert page.row("command") == ["command", "python -m experiments.mnist --lr 0.1"]
    assert page.row("SHA-256 of the parameters")[1] == "ab" * 32
    assert page.row("fc", "400")[1:] == [
        "400",
        "100.00",
        "50.00",
        "100.00",
        "50.00",
        "200",
    ]
    assert "90.50 % top-1 accuracy (+0.50 points" in page.text


def test_the_page_needs_no_other_file(make_run):
    path = report.write(make_run())
    page = read(path)
    assert len(page.loads) == 3
    assert all(value.startswith("data:image/png;base64,") for value in page.loads)
    assert not {"link", "iframe", "object"} & set(page.tags)
    assert page.tags.count("script") == 1  # its own, which sorts and saves tables
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_embedded_figures_are_those_beside_the_page(make_run):
    run = make_run()
    text = report.write(run).read_text(encoding="utf-8")
    png = (run / "figures/training.png").read_bytes()
    assert html.figure("", "", png).split("base64,")[1].split('"')[0] in text
    with Image.open(io.BytesIO(png)) as image:
        assert f'width="{image.width // 2}" height="{image.height // 2}"' in text


def test_values_are_escaped(make_run):
    evil = "\"'><script>alert(1)</script><img src=x onerror=y>&amp;"
    path = report.write(make_run("<b>bold", config={evil: evil}))
    page = read(path)
    assert page.row(evil) == [evil, evil]
    assert page.tags.count("script") == 1
    assert "b" not in page.tags
    assert page.tags.count("img") == 3
    assert "<b>bold" in page.text


@pytest.mark.slow
def test_an_unfinished_run_is_reported_and_marked(make_run):
    page = read(report.write(make_run(finished=2)))
    assert "Unfinished: stages/sparsify_weights.json" in page.text
    assert page.row("dense control", "91.00")
    assert "Unfinished" not in read(report.write(make_run("whole"))).text


def test_the_same_run_gives_the_same_bytes(make_run):
    run = make_run()
    report.write(run)
    names = ["report.html", *(f"figures/{f.name}" for f in (run / "figures").iterdir())]
    before = [(run / name).read_bytes() for name in names]
    report.write(run)
    assert [(run / name).read_bytes() for name in names] == before


def test_compare_puts_the_runs_side_by_side(make_run, tmp_path):
    runs = [make_run("a"), make_run("b", seed=1), make_run("c", finished=1, seed=2)]
    path = report.compare(runs, tmp_path / "out")
    assert path == tmp_path / "out/comparison.html"
    page = read(path)
    assert page.row("a", "dense baseline")[2] == "90.00"
    assert page.row("b", "dense baseline")[2] == "91.00"
    assert page.row("a, b, c", "dense baseline")[2:4] == ["3", "91.00 ±1.00"]
    assert page.row("seed") == ["seed", "0", "1", "2"]
    assert "c: Unfinished" in page.text
    assert all(value.startswith("data:image/png;base64,") for value in page.loads)
    figures = sorted(f.name for f in (tmp_path / "out/figures").iterdir())
    assert figures == ["comparison_accuracy.png", "comparison_flops.png"]


def test_show_prints_to_the_given_console(make_run):
    console = Console(width=120)
    with console.capture() as captured:
        report.show([make_run("a"), make_run("b", seed=1)], console)
    assert "91.00 ±0.71" in captured.get()


def test_no_runs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="run_dirs is empty"):
        report.show([])
    with pytest.raises(ValueError, match="run_dirs is empty"):
        report.compare([], tmp_path)


def test_cli_rebuilds_one_report(make_run, capsys):
    run = make_run()
    assert main([str(run)]) == 0
    out = capsys.readouterr().out
    assert "dual sparse" in out
    assert out.rstrip().endswith("report.html")
    assert (run / "report.html").exists()


@pytest.mark.slow
def test_cli_compares_several(make_run, tmp_path, capsys):
    runs = [make_run("a"), make_run("b", seed=1)]
    assert main([*map(str, runs), "--output", str(tmp_path / "out")]) == 0
    assert all((run / "report.html").exists() for run in runs)
    assert (tmp_path / "out/comparison.html").exists()
    assert "Mean over seeds" in capsys.readouterr().out


@pytest.mark.slow
def test_cli_compares_into_the_current_directory(make_run, tmp_path, monkeypatch):
    runs = [make_run("a"), make_run("b")]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main([*map(str, runs)]) == 0
    assert (tmp_path / "here/comparison.html").exists()


def test_cli_names_a_run_that_cannot_be_read_and_writes_nothing(
    make_run, tmp_path, capsys
):
    run = make_run()
    assert main([str(run), str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not a directory" in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_cli_needs_a_run():
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2


def test_the_module_runs(make_run):
    run = make_run()
    command = [sys.executable, "-m", "dst_jax.report", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("report.html")
    assert done.stderr == ""


def test_a_page_prints_what_is_folded_and_keeps_first_columns(make_run):
    run = make_run()
    text = report.write(run).read_text()
    style = text[text.index("<style>") : text.index("</style>")]
    printed = style[style.index("@media print") :]
    assert "details::details-content" in printed
    assert "color-scheme: light" in printed
    assert re.search(r":first-child {\s*position: sticky; left: 0;", style)


def test_the_headline_says_that_a_control_is_missing(make_run):
    path = make_run(stages=("pretrain", "sparsify_weights", "sparsify_activations"))
    page = pages.run_page(load(path), {})
    assert (
        "after the dense baseline (2 epochs) train for 6 epochs: a dense control"
        in page
    )
    assert "--run.control" in page
    config = json.loads((path / "config.json").read_text())
    config["stages"].insert(1, "control")  # planned, and not finished yet
    (path / "config.json").write_text(json.dumps(config))
    assert "--run.control" not in pages.run_page(load(path), {})


def test_the_headline_compares_with_the_control_too(make_run):
    stages = ("pretrain", "control", "sparsify_weights")
    run = load(make_run(stages=stages))
    (first, control, last) = (stage.test["top1"] for stage in run.stages)
    assert (
        f"({100 * (last - first):+.2f} points against the dense baseline,"
        f" {100 * (last - control):+.2f} points against the dense control).</p>"
    ) in pages.run_page(run, {}).replace("\N{MINUS SIGN}", "-")


@pytest.mark.parametrize("stages", [("pretrain",), ("pretrain", "control")])
def test_nothing_is_said_of_a_control_where_nothing_is_compared(make_run, stages):
    assert "--run.control" not in pages.run_page(load(make_run(stages=stages)), {})
