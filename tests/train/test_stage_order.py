import os

import pytest

from dst_jax.runs import Run
from dst_jax.train.stage_order import directory_of

PHASES = {"pretrain": ["pretrain"], "prune": ["prune.induce", "prune.finetune"]}


def _run(directory, *, finished=(), **record):
    run = Run(directory)
    run.write_config({"stages": list(PHASES), **record})
    for name in (path for paths in PHASES.values() for path in paths):
        (run.checkpoints / name / "8").mkdir(parents=True)
    for name in finished:
        run.write_stage(name, {})
    return run


def _log(run):
    for stage, phase in (("pretrain",) * 2, ("prune", "induce"), ("prune", "finetune")):
        run.log({"kind": "train", "stage": stage, "phase": phase, "step": 8})


@pytest.mark.parametrize("recorded", [True, False])
def test_the_record_says_the_order_whatever_the_times_of_files_are(tmp_path, recorded):
    run = _run(tmp_path, **({"checkpoints": PHASES} if recorded else {}))
    _log(run)
    for i, name in enumerate(["prune.finetune", "prune.induce", "pretrain"]):
        os.utime(run.checkpoints / name, (i, i))
    (run.checkpoints / "pretrain" / "note.txt").write_text("good")
    assert directory_of(run).name == "prune.finetune"
    assert directory_of(run, "pretrain").name == "pretrain"


def test_an_unfinished_run_gives_its_last_stage_that_has_a_checkpoint(tmp_path):
    run = _run(tmp_path, checkpoints=PHASES)
    for name in PHASES["prune"]:
        (run.checkpoints / name / "8").rename(run.checkpoints / name / "8.damaged")
    assert directory_of(run).name == "pretrain"


def test_a_finished_stage_is_never_replaced_by_one_before_it(tmp_path):
    run = _run(tmp_path, checkpoints=PHASES, finished=PHASES)
    (run.checkpoints / "prune.finetune" / "8").rmdir()
    with pytest.raises(ValueError, match=r"prune is finished, and its .* are lost"):
        directory_of(run)


def test_an_earlier_run_that_does_not_say_the_order_is_refused(tmp_path):
    with pytest.raises(ValueError, match="which phase of prune is the last"):
        directory_of(_run(tmp_path))


def test_a_stage_without_checkpoints_is_named(tmp_path):
    run = _run(tmp_path, checkpoints=PHASES)
    with pytest.raises(ValueError, match="none of the stage dual"):
        directory_of(run, "dual")
