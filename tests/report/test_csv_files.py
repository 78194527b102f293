"""Every table of a report as CSV: exact, complete, described."""

import csv
import re
from pathlib import Path

import pytest

from dst_jax import report
from dst_jax.cost.estimates.energy import Energy
from dst_jax.report import __main__ as command
from dst_jax.report import csv_files
from dst_jax.report.csv_files.layer_columns import ENERGY_PARTS
from dst_jax.report.load import load
from dst_jax.report.tables import above_figures, below_figures, comparison, unfolding
from dst_jax.report.tables.table import number, percent
from dst_jax.runs import Run
from tests.report.conftest import PRODUCTS, STAGES, ZEROS

SECTIONS = (above_figures, below_figures, unfolding)
DOCS = Path(__file__).parent.parent.parent / "docs" / "hardware_files.md"
FILE_OF = {  # every table of a report, by the beginning of its title
    "Accuracy, sparsity, multiplications": "stages",
    "Drift": "stages",
    "Stages": "stages",
    "Networks made smaller": "smaller_networks",
    "Union sparsity per layer": "union_sparsity",
    "Multiplications of two weights": "weight_multiplications",
    "Channels per group": "channels",
    "Channels per layer": "weights",
    "Activation sparsity per layer": "activations",
    "Weight sparsity per layer": "weights",
    "Multiplications per layer": "multiplications",
    "Multiplications of training": "training",
    "Smallest storage format per tensor": "storage",
    "On modelled accelerators": "accelerators",
    "Cycles per layer on": "accelerators",
    "Run": "run",
    "Configuration": "settings",
    "Mean over seeds": "seeds",
    "Settings that differ": "differences",
}


def read(directory):
    found = {}
    for path in directory.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            found[path.stem] = list(csv.DictReader(file))
    return found


@pytest.fixture
def full_run(make_run):
    """A run with what any table shows: channels removed, a time, an estimate."""
    path = make_run()
    run = Run(path)
    record = run.read_stage("sparsify_activations")
    machine = {"devices": "1 x cpu", "cores": 2}
    record["network"] = {
        "plans": [{"groups": {"conv1": {"size": 8}}, "kept": {"conv1": [0, 2]}}],
        "shapes": {"params/conv1/kernel": [5, 10], "params/fc/kernel": [15, 10]},
    }
    record["forward_time"] = {"batch": 16, "runs": 11, "machine": machine}
    record["forward_time"]["seconds"] = {"whole": 0.3, "smaller": 0.1}
    record["layers"]["counts"]["fc"]["dense"] = 2**60 + 1  # no float holds it
    run.write_stage("sparsify_activations", record)
    operation = {
        **{"mode": "sparse", "bound": "dram", "cycles": {"total": 100.5}},
        **{"seconds": 1e-7, "utilisation": 0.25, "dram_bits": 64.0},
        "macs": {"dense": 400.0, "effectual": 100.0},
        "energy": dict.fromkeys(ENERGY_PARTS, 0.1) | {"dram": 1.5},
    }
    estimate = {
        **{"multipliers": 4.0, "dram_bytes_per_cycle": 2.0},
        **{"energy_table": "horowitz45", "energy_unit": "pJ"},
        **{"total": operation, "layers": {"fc": operation}},
    }
    run.write_accelerators("pretrain", {"examples": 8, "machines": {"scnn": estimate}})
    return path


def test_counts_are_exact_integers(full_run, tmp_path):
    report.write_csv([full_run], tmp_path / "csv")
    found = read(tmp_path / "csv")
    rows = {(r["stage"], r["layer"]): r for r in found["multiplications"]}
    for stage in STAGES:
        for layer, counts in zip(("conv1", "fc"), PRODUCTS[stage], strict=True):
            row = list(rows[stage, layer].values())[4:]
            wanted = [str(n) for n in counts]
            if (stage, layer) == ("sparsify_activations", "fc"):
                wanted[0] = str(2**60 + 1)
            assert row == wanted
    (relu1,) = [
        r
        for r in found["activations"]
        if (r["stage"], r["map"]) == ("sparsify_activations", "relu1")
    ]
    assert relu1 == {
        **{"run": "run", "stage": "sparsify_activations", "map": "relu1"},
        **{"examples": "10", "zeros": "300", "elements": "400", "sparsity": "0.75"},
    }
    zeros = {(r["stage"], r["kernel"]): r["zeros"] for r in found["weights"]}
    assert zeros["sparsify_weights", "fc/kernel"] == str(ZEROS["sparsify_weights"][3])


def test_shares_are_those_that_the_tables_round(full_run, tmp_path):
    report.write_csv([full_run], tmp_path)
    rows = read(tmp_path)["stages"]
    (table, *_) = above_figures(load(full_run))
    names = ["test_top1", "difference", "test_top5", "weight_sparsity"]
    names += ["activation_sparsity_element", "activation_sparsity_layer_mean"]
    names += ["flops_drop_dense", "flops_drop_valid"]  # training has its own table
    for row, shown in zip(rows, table.rows, strict=True):
        assert row["title"] == shown[0]
        for name, cell in zip(names, shown[1:], strict=True):
            text = percent(float(row[name]) if row[name] else None)
            assert text == cell.removeprefix("+"), name
    assert rows[0]["difference"] == rows[0]["drift_cosine"] == ""
    assert rows[2]["holdout_top1"] == repr(0.88 - 0.02)


def test_estimates_and_smaller_networks(full_run, tmp_path):
    report.write_csv([full_run], tmp_path)
    found = read(tmp_path)
    assert [r["layer"] for r in found["accelerators"]] == ["", "fc"]
    assert (
        found["accelerators"][0].items()
        >= {
            **{"cycles": "100.5", "dram_bytes": "8.0", "energy_dram": "1.5"},
            **{"energy_mac": "0.1", "energy_unit": "pJ", "examples": "8"},
        }.items()
    )
    assert Energy._fields == ENERGY_PARTS
    (smaller,) = found["smaller_networks"]
    assert (smaller["channels_kept"], smaller["channels_whole"]) == ("2", "8")
    assert smaller["dense"] == str(6000 + 2**60 + 1)
    assert smaller["parameters"] == "200"
    assert smaller["forward_machine"] == "1 x cpu, 2 cores"
    assert found["channels"] == [
        {
            **{"run": "run", "stage": "sparsify_activations", "group": "conv1"},
            **{"whole": "8", "kept": "2"},
        }
    ]


def test_every_table_of_a_report_has_a_file(full_run, make_run, tmp_path):
    runs = [load(full_run), load(make_run("other", seed=1))]
    tables = [t for run in runs for f in SECTIONS for t in f(run)]
    tables += [comparison.over_seeds(runs), comparison.differences(runs)]
    contents = csv_files.contents(runs)
    for table in tables:
        (name,) = {f for title, f in FILE_OF.items() if table.title.startswith(title)}
        assert len(contents[name]) > 1 or not table.rows, table.title
    assert set(FILE_OF.values()) | {"columns"} == contents.keys()


def test_several_runs_are_in_the_same_files(make_run, tmp_path):
    paths = [make_run(f"run{seed}", seed=seed) for seed in range(2)]
    report.write_csv(paths, tmp_path / "csv")
    found = read(tmp_path / "csv")
    assert {row["run"] for row in found["stages"]} == {"run0", "run1"}
    (row,) = [
        r
        for r in found["seeds"]
        if (r["title"], r["column"]) == ("pruned", "test_top1")
    ]
    assert (row["runs"], row["n"]) == ("run0, run1", "2")
    shown = comparison.over_seeds([load(p) for p in paths]).rows
    (cell,) = [cells[3] for cells in shown if cells[1] == "pruned"]
    mean, deviation = (number(100 * float(row[k]), 2) for k in ("mean", "deviation"))
    assert cell == f"{mean} ±{deviation}"
    assert {r["setting"] for r in found["differences"]} == {"seed"}
    with pytest.raises(ValueError, match="is given twice"):
        report.write_csv([paths[0], paths[0]], tmp_path)
    with pytest.raises(ValueError, match="run_dirs is empty"):
        report.write_csv([], tmp_path)


def test_a_task_has_columns_for_its_own_metrics(make_run, tmp_path):
    path = make_run(stages=("pretrain",))
    run = Run(path)
    titles = {"mean_iou": "mean IoU", "error": "error"}
    task = {"name": "segmentation", "titles": titles, "best": ["mean_iou", "max"]}
    run.write_config(run.read_config() | {"task": task | {"shares": ["mean_iou"]}})
    record = run.read_stage("pretrain")
    own = {"mean_iou": 0.5, "error": float("nan"), "holdout": None}
    run.write_stage("pretrain", record | own)
    report.write_csv([path], tmp_path / "csv")
    found = read(tmp_path / "csv")
    assert found["stages"][0]["test_mean_iou"] == "0.5"
    assert found["stages"][0]["test_error"] == ""
    units = {(r["file"], r["column"]): r["unit"] for r in found["columns"]}
    assert units["stages.csv", "test_mean_iou"] == "share"
    assert units["stages.csv", "test_error"] == ""


def test_every_column_is_described(full_run, tmp_path):
    written = report.write_csv([full_run], tmp_path)
    found = read(tmp_path)
    assert {path.stem for path in written} == found.keys()
    described = {(r["file"], r["column"]) for r in found["columns"] if r["meaning"]}
    for path in written:
        with path.open(newline="") as file:
            names = next(csv.reader(file))
        if path.stem != "columns":
            own = [column for name, column in described if name == path.name]
            assert sorted(own) == sorted(names)
            assert len(set(names)) == len(names)


def test_the_docs_have_the_columns():
    rows = re.findall(r"^\| `(\w+\.csv)` \|(.*)\|$", DOCS.read_text(), re.MULTILINE)
    found = {(name, *(cell.strip() for cell in row.split("|"))) for name, row in rows}
    assert found == set(csv_files.columns())


def test_the_command_writes_them(full_run, tmp_path, capsys):
    out = tmp_path / "tables"
    assert command.main([str(full_run), "--csv", str(out)]) == 0
    assert str(out / "multiplications.csv") in capsys.readouterr().out
    assert command.main([str(tmp_path / "none"), "--csv", str(out)]) == 2
