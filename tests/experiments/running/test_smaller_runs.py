"""A run that removes channels, from the command line to the report."""

import jax
import numpy as np
import pytest

from dst_jax import cost, report, train
from dst_jax.cost import workloads
from dst_jax.models.smaller import Smaller
from dst_jax.runs import Run, read_yaml
from experiments import accelerators, mnist_lenet5, traces
from experiments.options import Config, InitOptions
from experiments.running import finished_run, forward_times, launch

pytestmark = pytest.mark.slow

HIDDEN = (12, 8)
SECONDS = {"whole": 0.5, "smaller": 0.25}


def arguments(directory, *more):
    return [
        *("--data.name", "digits", "--model.name", "mlp", "--run.dir", str(directory)),
        *("--model.options", "hidden=12,8", "--run.no-control"),
        *("--run.stages", "pretrain", "remove_channels"),
        *("--pretrain.epochs", "0.5", "--channels.epochs", "0.5"),
        *("--channels.budget", "None", "--channels.ratio", "0.5"),
        *more,
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "smaller"
    patch = pytest.MonkeyPatch()
    calls = []

    def alternating(found, *, runs):
        calls.append((list(found), runs, [call() for call in found.values()]))
        return SECONDS

    patch.setattr(forward_times, "alternating", alternating)
    with patch.context():
        argv = arguments(folder, "--channels.timing-runs", "3")
        assert launch.main("mnist", mnist_lenet5.PRESETS, doc="", argv=argv) == 0
    patch.undo()
    return Run(folder), calls


def test_the_command_times_the_whole_and_the_smaller_network(finished):
    run, calls = finished
    ((names, runs, outputs),) = calls
    assert (names, runs) == (["whole", "smaller"], 3)
    assert [x.shape for x in outputs] == [(16, 10)] * 2
    found = run.read_stage("remove_channels")["forward_time"]
    assert found["seconds"] == SECONDS
    assert found["machine"]["devices"]
    assert "forward_time" not in run.read_stage("pretrain")


def test_a_finished_run_is_opened_with_its_smaller_network(finished):
    context = finished_run.reopen(str(finished[0].path))
    for name, kind in (("pretrain", False), ("remove_channels", True)):
        network = finished_run.network_at_end(context, name)
        assert isinstance(network.model, Smaller) == kind
        test = context.evaluate(network, context.dataset.test, count=True)
        assert test.metrics["top1"] == context.run.read_stage(name)["top1"]


def test_accelerators_estimate_it(finished, tmp_path, capsys):
    path, chip = finished[0].path, tmp_path / "ours.yaml"
    chip.write_text("preset: dense\nnumbers: {rows: 16}")
    names = ["--names", "dense", str(chip), "--examples", "1"]
    assert accelerators.main([str(path), *names]) == 0
    ours = finished[0].read_accelerators("pretrain")["machines"]["ours"]
    out = capsys.readouterr().out
    lines = out.splitlines()
    cycles = ours["total"]["cycles"]["total"]
    assert f"  ours: {cycles:,.0f} cycles an image" in lines
    assert sum(line.startswith("  dense: ") for line in lines) == 2  # two stages
    assert (ours["design"], ours["numbers"]["rows"], ours["multipliers"]) == (
        *("Dense", 16, 512.0),
    )
    assert accelerators.main([str(path), *names[:2], str(tmp_path / "no.yaml")]) == 2
    assert "--names: " in (err := capsys.readouterr().err)
    assert "no.yaml cannot be read: No such file" in err
    found = {
        name: finished[0].read_accelerators(name)["machines"]["dense"]["total"]
        for name in ("pretrain", "remove_channels")
    }
    macs = {name: total["macs"]["dense"] for name, total in found.items()}
    kept = finished[0].read_stage("remove_channels")["network"]["shapes"]
    one, two = (kept[f"params/fc{n}/bias"][0] for n in (1, 2))
    assert macs["pretrain"] == 256 * 12 + 12 * 8 + 8 * 10
    assert macs["remove_channels"] == 256 * one + one * two + two * 10
    assert "Networks made smaller" in out
    assert "10 of 20" in out


def test_its_masks_and_layers_are_those_of_the_smaller_network(
    finished, tmp_path, capsys
):
    path, out = finished[0].path, tmp_path / "masks.npz"
    files = [str(path), "--out", str(out), "--timeloop", str(tmp_path / "problems")]
    files += ["--accelforge", str(tmp_path / "net.yaml")]
    assert traces.main([*files, "--images", "3"]) == 0
    assert "3 layers, 3 images" in capsys.readouterr().out
    found = workloads.load(out)
    assert found.info["stage"] == "remove_channels"
    context = finished_run.reopen(str(path))
    network = finished_run.network_at_end(context, "remove_channels")
    images = np.stack([context.dataset.test.example(i).image for i in range(3)])
    count = cost.count(lambda w, x: network.model(w, x, train=False, rngs=None)[0])
    counts = jax.jit(count)(network.variables, context.preprocess(images))
    assert cost.as_dict({n: x.counts for n, x in found.layers.items()}) == (
        cost.as_dict(counts)
    )
    for i, (name, layer) in enumerate(found.layers.items()):
        kernel = np.asarray(network.params[name]["kernel"])
        np.testing.assert_array_equal(layer.weight.mask[0], kernel != 0)
        problem = read_yaml(tmp_path / "problems" / f"{i:03}_{name}.yaml")["problem"]
        assert (problem["instance"]["C"], problem["instance"]["M"]) == kernel.shape
        density = problem["instance"]["densities"]["Inputs"]["density"]
        assert density == layer.activation.mask.mean()
    einsums = read_yaml(tmp_path / "net.yaml")["workload"]["einsums"]
    assert [einsum["name"] for einsum in einsums] == list(found.layers)
    own = {"mine": cost.accelerators.create("dense", columns=8)}
    estimate = train.estimate(context, network, own, examples=1)
    assert estimate["machines"]["mine"]["numbers"]["columns"] == 8


def test_traces_refuse_what_they_cannot_write(finished, tmp_path, capsys):
    path, out = str(finished[0].path), str(tmp_path / "masks.npz")
    for argv, said in (
        (["--out", "masks.txt"], "--out must end in .npz, got 'masks.txt'"),
        (["--out", out, "--images", "0"], "--images"),
        (["--out", out, "--stage", "pretrian"], "mean 'pretrain'"),
    ):
        assert traces.main([path, *argv]) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_report_shows_channels_and_times(finished):
    found = report.load(finished[0].path)
    stage = found.stages[1]
    assert stage.forward_time.speed_up == 2.0
    assert sum(count.kept for count in stage.channels.values()) == 10
    assert sum(count.whole for count in stage.channels.values()) == sum(HIDDEN)
    page = report.write(finished[0].path).read_text()
    assert "Channels per group" in page
    assert "median of 3 forward passes of 16 images" in page
    assert "of those of the whole one" in page


def test_another_run_starts_from_it(finished):
    context = finished_run.reopen(str(finished[0].path))
    for source in (finished[0].path, finished[0].checkpoints / "remove_channels"):
        network = InitOptions(str(source)).network(Config(), context)
        assert isinstance(network.model, Smaller)
        kept = map(len, network.model.plan.kept.values())
        assert sum(kept) == 10
