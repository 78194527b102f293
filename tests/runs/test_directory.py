import json

from dst_jax.runs import Run


def test_writes_and_reads(tmp_path):
    run = Run(tmp_path / "run")
    assert run.read_config() is None
    assert run.read_metrics() == []
    run.write_config({"seed": 1})
    run.write_stage("pretrain", {"top1": 0.5})
    run.write_summary({"stages": []})
    assert Run(tmp_path / "run").read_config() == {"seed": 1}
    assert run.read_stage("pretrain") == {"top1": 0.5}
    assert run.read_stage("other") is None
    assert run.read_summary() == {"stages": []}
    assert not list(run.path.rglob("*.tmp"))


def test_metrics_survive_a_line_cut_short(tmp_path):
    run = Run(tmp_path)
    run.log({"step": 1})
    run.log({"step": 2})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [m["step"] for m in run.read_metrics()] == [1, 2]
    run.keep_metrics(lambda m: m["step"] < 2)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1}]


def test_only_the_writer_touches_the_disk(tmp_path):
    run = Run(tmp_path / "run", writer=False)
    run.log({"step": 1})
    run.write_config({})
    run.keep_metrics(lambda m: True)
    assert not (tmp_path / "run").exists()
