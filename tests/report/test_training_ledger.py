"""The ledger, against the formulas that papers print; storage; their files."""

import csv
import json

import pytest

from dst_jax import pruning, report
from dst_jax.report.load import load
from dst_jax.report.tables.storage_formats import storage
from dst_jax.report.tables.training_costs import training
from dst_jax.report.training_ledger import training_costs
from dst_jax.runs import Run, log_ledger, write_storage

MACS = {"conv": 1000, "fc": 500}
PARTS = ("forward", "input_gradient", "weight_gradient")
PLACE = {"stage": "sparsify_weights", "phase": "method"}


def counted(step, kept):
    """A step whose factors have no zeros but the weights'; a MAC is a weight here."""
    layers = {
        name: {
            part: {
                **{"valid": size, "all_weights": size if part == PARTS[2] else own},
                **{"by_weight": own, "effectual": own},
            }
            for part in PARTS
        }
        for (name, size), own in zip(MACS.items(), kept, strict=True)
    }
    weights = {f"{k}/kernel": n for k, n in zip(MACS, kept, strict=True)}
    line = {"kind": "step", **PLACE, "step": step, "examples": 1, "epoch": 1.0}
    return line | {"weights": weights, "layers": layers}


def interval(step, kept, dense_gradients=0):
    """The steps up to one, by the kept weights of each of them."""
    sums = [sum(column) for column in zip(*kept, strict=True)]
    weights = {f"{k}/kernel": n for k, n in zip(MACS, sums, strict=True)}
    line = {"kind": "interval", **PLACE, "step": step, "steps": len(kept), "epoch": 1.0}
    return line | {"dense_gradients": dense_gradients, "weights": weights}


def share(lines):
    """By weights alone, and in all; they agree where nothing else is zero."""
    whole = training_costs(lines)["sparsify_weights"].total()
    assert whole.by_weight == pytest.approx(whole.effectual, rel=1e-12)
    return whole.effectual / whole.valid


def formula(kept, every=None):
    densities = {k: n / MACS[k] for k, n in zip(MACS, kept, strict=True)}
    return pruning.training_flops(MACS, densities, dense_gradient_every=every).relative


def test_static_sparsity_costs_3_f_s():
    lines = [counted(1, (100, 250)), interval(4, [(100, 250)] * 4)]
    assert share(lines) == pytest.approx(formula((100, 250)), rel=1e-12)


def test_rigl_has_its_share_of_dense_gradients():
    """(3 f_S dT + 2 f_S + f_D) / (dT + 1), arXiv 1911.11134."""
    kept = (100, 250)
    lines = [counted(1, kept), interval(10, [kept] * 10, dense_gradients=1)]
    assert share(lines) == pytest.approx(formula(kept, every=9), rel=1e-12)


def test_ac_dc_is_the_mean_of_its_phases():
    """Dense phases cost 3 f_D and compressed ones 3 f_S a step (arXiv 2106.12379)."""
    dense, sparse = (1000, 500), (100, 250)
    lines = [
        *(counted(1, dense), interval(6, [dense] * 6)),
        interval(10, [sparse] * 4),  # nothing was counted in this phase
        *(counted(11, sparse), interval(12, [sparse] * 2), interval(14, [dense] * 2)),
    ]
    by_phase = (8 * 1 + 6 * formula(sparse)) / 14
    assert share(lines) == pytest.approx(by_phase, rel=1e-12)


def test_chase_follows_the_density_between_its_updates():
    """Weights beyond the budget cost too, between growth and removal (2305.19454)."""
    kept = [(100 + 10 * (i % 5), 250 - 20 * (i % 5)) for i in range(10)]
    lines = [counted(1, kept[0]), interval(10, kept, dense_gradients=2)]
    sparse = sum(formula(k) for k in kept) / 10
    without = sum(2 * sum(k) / (3 * 1500) for k in kept) / 10
    expected = without + (sparse - without) * 8 / 10 + 2 / 10 / 3
    assert share(lines) == pytest.approx(expected, rel=1e-12)


def test_dense_weights_need_all_gradients_at_every_step():
    kept = (100, 250)
    lines = [counted(1, kept), interval(4, [kept] * 4, dense_gradients=4)]
    assert share(lines) == pytest.approx(formula(kept, every=1), rel=1e-12)


def test_an_operation_without_weights_follows_all_of_them():
    lines = [counted(1, (100, 250)), interval(2, [(100, 250), (300, 50)])]
    lines[0]["layers"]["shared"] = lines[0]["layers"].pop("fc")
    layers = training_costs(lines)["sparsify_weights"].layers
    assert layers["conv"]["forward"].by_weight == pytest.approx(400)
    assert layers["shared"]["forward"].by_weight == pytest.approx(2 * 250)


@pytest.fixture
def run_dir(make_run):
    path = make_run()
    run = Run(path)
    for line in (counted(1, (100, 250)), interval(4, [(100, 250)] * 4, 1)):
        log_ledger(run, line)
    tensors = [
        {
            **{"kind": kind, "name": name, "elements": 64, "nonzeros": 8},
            **{"bits": {"dense": 1024, "coo": 176}, "smallest": "coo"},
        }
        for kind, name in (("weight", "fc/kernel"), ("map", "relu1"))
    ]
    record = {"value_bits": 16, "examples": 8, "tensors": tensors}
    write_storage(run, "sparsify_weights", record)
    return path


def test_tables_and_files_show_both(run_dir, tmp_path):
    run = load(run_dir)
    (row,) = training(run).rows
    assert row[1:3] == (f"{4 * 4500:,}", f"{3 * 3 * 350 + 2 * 350 + 1500:,}")
    assert row[-1] == "1 of 4"
    (stage,) = [stage for stage in run.stages if stage.storage]
    assert storage(stage).rows[0] == (
        *("fc/kernel", "weights", "64", "87.50", "coo", "22", "17.19"),
    )
    report.write_csv([run_dir], tmp_path)
    with (tmp_path / "training.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[2]["part"] == "weight_gradient"
    assert float(rows[2]["effectual"]) == 3 * 100 + 1000
    with (tmp_path / "storage.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["tensor"], r["smallest"], r["bits_coo"]) for r in rows] == [
        *(("fc/kernel", "coo", "176"), ("relu1", "coo", "176"))
    ]
    with (tmp_path / "stages.csv").open(newline="") as file:
        shares = {r["stage"]: r["training_share"] for r in csv.DictReader(file)}
    assert shares["pretrain"] == ""
    expected = (3 * 3 * 350 + 2 * 350 + 1500) / (4 * 4500)
    assert float(shares["sparsify_weights"]) == pytest.approx(expected, rel=1e-12)


def test_a_line_that_lacks_something_names_the_file(run_dir):
    line = counted(5, (100, 250))
    del line["stage"]
    with (run_dir / "ledger.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=r"ledger\.jsonl has no entry 'stage'"):
        load(run_dir)
