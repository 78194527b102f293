import json

import pytest

from dst_jax.report.load import load


def test_stages_come_in_order_of_execution_with_the_papers_titles(make_run):
    results = load(make_run())
    titles = [stage.title for stage in results.stages]
    assert titles == ["dense baseline", "dense control", "pruned", "dual sparse"]
    assert results.baseline is results.stages[0]
    assert results.unfinished == ()
    assert results.params_sha256 == "ab" * 32


@pytest.mark.parametrize(
    ("stages", "titles"),
    [
        (("pretrain", "sparsify_activations"), ["dense baseline", "activation-sparse"]),
        (
            ("sparsify_activations", "sparsify_weights"),
            ["activation-sparse", "dual sparse"],
        ),
    ],
)
def test_a_title_says_what_has_been_done_so_far(make_run, stages, titles):
    assert [stage.title for stage in load(make_run(stages=stages)).stages] == titles


def test_a_stage_of_another_name_keeps_it(make_run):
    path = make_run(stages=("pretrain",))
    config = json.loads((path / "config.json").read_text())
    config["stages"].append("rigl")
    (path / "config.json").write_text(json.dumps(config))
    record = json.loads((path / "stages/pretrain.json").read_text()) | {"name": "rigl"}
    (path / "stages/rigl.json").write_text(json.dumps(record))
    assert load(path).stages[1].title == "rigl"


def test_layers_keep_their_counts(make_run):
    last = load(make_run()).stages[-1]
    assert last.activations["relu1"].sparsity == 300 / 400
    assert last.weights["fc/kernel"].sparsity == 110 / 150
    assert last.products["fc"].remaining == 100 / 4000


def test_an_unfinished_run_names_what_is_missing(make_run):
    results = load(make_run(finished=3))
    assert len(results.stages) == 3
    assert results.unfinished == ("stages/sparsify_activations.json", "summary.json")


def test_a_run_without_summary_is_unfinished(make_run):
    assert load(make_run(summary=False)).unfinished == ("summary.json",)


def test_a_line_cut_short_by_a_kill_is_left_out(make_run):
    path = make_run()
    whole = load(path).phases
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "eval", "sta')
    assert load(path).phases == whole


def test_a_run_without_metrics_has_no_phases(make_run):
    path = make_run()
    (path / "metrics.jsonl").unlink()
    assert load(path).phases == ()


def test_top5_may_be_absent(make_run):
    path = make_run()
    file = path / "stages/pretrain.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"top5": None}))
    assert load(path).stages[0].test.get("top5") is None


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a directory"):
        load(tmp_path / "nowhere")


def test_a_directory_without_config_is_not_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not a run: it has no config\.json"):
        load(tmp_path)


def test_a_run_without_a_finished_stage_names_the_planned_ones(make_run):
    path = make_run(finished=0)
    with pytest.raises(FileNotFoundError, match=r"no finished stage.*pretrain\.json"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("flops_drop"), r"pretrain\.json has no entry 'flops_drop'"),
        (lambda r: r["layers"].pop("counts"), r"pretrain\.json has no entry 'counts'"),
        (lambda r: r.update(layers=3), r"pretrain\.json is malformed"),
        (lambda r: r.update(top1="high"), r"pretrain\.json is malformed.*'high'"),
    ],
)
def test_a_malformed_stage_is_named_with_what_it_lacks(make_run, change, message):
    file = make_run() / "stages/pretrain.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=message):
        load(file.parent.parent)


@pytest.mark.parametrize("name", ["config.json", "stages/control.json", "summary.json"])
def test_a_file_that_is_not_json_is_named(make_run, name):
    path = make_run()
    (path / name).write_text('{"top1": ')
    with pytest.raises(ValueError, match=rf"{name} is not JSON"):
        load(path)


def test_a_config_without_stages_is_named(make_run):
    path = make_run()
    (path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json has no entry 'stages'"):
        load(path)


def test_a_recorded_title_is_the_stages_own(make_run):
    path = make_run()
    file = path / "stages/sparsify_weights.json"
    record = json.loads(file.read_text()) | {"title": "60 % of the weights"}
    file.write_text(json.dumps(record))
    titles = [stage.title for stage in load(path).stages]
    assert titles[2:] == ["60 % of the weights", "dual sparse"]


def test_a_task_without_its_best_metric_is_named(make_run):
    path = make_run()
    file = path / "config.json"
    task = {"name": "segmentation", "titles": {"mean_iou": "mean IoU"}}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"task": task}))
    with pytest.raises(ValueError, match=r"config\.json has no entry 'best'"):
        load(path)
