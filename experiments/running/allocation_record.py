"""The record of an allocation, and what is shown of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dst_jax import activations, trees
from dst_jax.report.tables.table import Table, number, percent
from dst_jax.report.terminal import show as show_table
from dst_jax.train import records
from dst_jax.typing import Network
from experiments.running.allocation_choice import Chosen, Prediction
from experiments.running.allocation_tables import Opened
from experiments.running.config_record import nested
from experiments.running.quality import quality_of

if TYPE_CHECKING:
    from experiments.allocate import Options

__all__ = ["measured", "record", "show"]

_SHOWN = 12
"""Rows of the front in a terminal; all of them are in the record."""


def record(run: Opened, options: "Options", found: Chosen) -> dict[str, Any]:
    """What is written: options, tables, front, choice, predictions and measurements.

    Args:
      run: the opened run.
      options: options of the command.
      found: what was chosen.
    """
    before = measured(run, run.network)
    after = measured(run, found.network)
    written: dict[str, Any] = {
        "options": nested(options),
        "before": before,
        "chosen": after,
        "densities": {
            name: float(mask.mean())
            for name, mask in trees.named_leaves(found.network.mask).items()
        },
        "thresholds": {
            name: [float(x) for x in t.reshape(-1)]
            for name, t in activations.thresholds_of(found.network.variables).items()
        },
        "patterns": activations.patterns_of(found.network.variables),
    }
    if found.prediction is not None:
        written["prediction"] = {
            "loss": found.prediction.loss,
            "cost": found.prediction.cost,
        }
        written["rounds"] = list(found.rounds)
        written |= _tables(run, found.prediction)
    if options.test:
        split = run.context.dataset.test
        written["test"] = {
            when: records.row(when, run.context.evaluate(own, split, count=True))
            for when, own in (("before", run.network), ("chosen", found.network))
        }
    return written


def measured(run: Opened, network: Network) -> dict[str, float]:
    """The calibration loss, the cost, and the hold-out metric if there is a hold-out.

    Args:
      run: the opened run.
      network: a network of it; a trained one too.
    """
    found = {"loss": run.loss_of(network), "cost": run.cost_of(network)}
    if run.context.dataset.holdout is not None:
        found["holdout"] = run.accuracy(network)
    return found


def show(run: Opened, written: Mapping[str, Any], *, trained: bool = False) -> None:
    """Prints the layers with what was chosen, the front, and what came of it.

    Args:
      run: the opened run.
      written: the record.
      trained: whether to print the last table alone.
    """
    if "layers" in written and not trained:
        show_table(_layer_table(written))
        show_table(_front_table(written))
    show_table(_result_table(run, written))


def _tables(run: Opened, found: Prediction) -> dict[str, Any]:
    tables, front = found.tables, found.front
    texts = [option.text for option in run.layers.weights]
    levels = run.layers.maps.texts
    return {
        "weight_options": texts,
        "map_options": list(levels),
        "layers": {
            name: {
                "option": texts[found.weights[name]],
                "maps": list(tables.reading.maps[name]),
                "operations": list(tables.reading.operations[name]),
                "loss": tables.measured.weights[name].tolist(),
                "predicted": tables.predicted.weights[name].tolist(),
                "dropout": tables.dropout[name],
                "cost": tables.costs.layers[name].tolist(),
                "chosen": _chosen(found, name),
            }
            for name in run.layers.layers
        },
        "maps": {
            name: {
                "option": levels[found.levels.get(name, 0)],
                "loss": tables.measured.maps[name].tolist(),
                "predicted": tables.predicted.maps[name].tolist(),
            }
            for name in run.layers.maps.thresholds
        },
        "fixed_cost": tables.costs.fixed,
        "front": {
            "loss": (found.start + front.loss).tolist(),
            "cost": (front.cost + tables.costs.fixed).tolist(),
            "gap": front.gap.tolist(),
        },
    }


def _chosen(found: Prediction, name: str) -> dict[str, float]:
    """What the layer's options lose and cost together with those of its maps."""
    tables = found.tables
    maps, option = tables.reading.maps[name], found.weights[name]
    level = found.levels[maps[0]] if maps else 0
    table = tables.costs.layers[name]

    def lost(losses: Any) -> float:
        own = sum(losses.maps[key][level] for key in maps)
        return float(losses.weights[name][option] + own)

    return {
        "loss": lost(tables.measured),
        "predicted": lost(tables.predicted),
        "before": float(table[0, 0]),
        "cost": float(table[level, option]),
    }


def _layer_table(written: Mapping[str, Any]) -> Table:
    rows = []
    for name, own in written["layers"].items():
        maps, at = own["maps"], own["chosen"]
        rows.append(
            (
                name,
                own["option"],
                " ".join(f"{key} {written['maps'][key]['option']}" for key in maps)
                or "-",
                f"{at['loss']:.4f}",
                f"{at['predicted']:.4f}",
                f"{own['dropout']:.4f}",
                number(at["before"]),
                number(at["cost"]),
            )
        )
    cost = written["options"]["cost"]
    headings = (
        "layer",
        "weights",
        "map: zeroed, N:M",
        "loss",
        "by gradient",
        "dropout",
    )
    return Table("options", (*headings, f"{cost} now", cost), tuple(rows), words=3)


def _front_table(written: Mapping[str, Any]) -> Table:
    front, before = written["front"], written["before"]
    rows = dict.fromkeys(
        (f"{cost / before['cost']:.3f}", f"{loss:.4f}", f"{gap:.2g}")
        for cost, loss, gap in zip(
            front["cost"], front["loss"], front["gap"], strict=True
        )
    )
    shown = list(rows)[:: max(len(rows) // _SHOWN, 1)]
    headings = ("share of the cost", "loss", "duality gap")
    return Table("front, predicted", headings, tuple(shown), words=0)


def _result_table(run: Opened, written: Mapping[str, Any]) -> Table:
    quality = quality_of(run.context.task)
    before = written["before"]

    def row(title: str, own: Mapping[str, Any], test: Any = None) -> tuple[str, ...]:
        holdout = own.get("holdout")
        scaled = None if holdout is None else holdout / quality.metric.scale
        return (
            title,
            f"{own['loss']:.4f}",
            number(own["cost"]),
            percent(own["cost"] / before["cost"]),
            "-" if scaled is None else quality.text(quality.gain(scaled)),
            "-" if test is None else quality.text(quality(test)),
        )

    tests = written.get("test", {})
    rows = [row("before", before, tests.get("before"))]
    if "prediction" in written:
        rows.append(row("predicted", written["prediction"]))
    rows.append(row("chosen", written["chosen"], tests.get("chosen")))
    if "trained" in written:
        rows.append(row("trained", written["trained"], written["trained"]["test"]))
    cost, heading = written["options"]["cost"], quality.metric.heading
    headings = ("network", "loss", cost, "% of it", f"hold-out {heading}")
    return Table(run.name, (*headings, f"test {heading}"), tuple(rows))
