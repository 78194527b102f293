"""A finished run as files that other programs read.

COMMAND
  python -m experiments.export RUN_DIR --out DIR --format bitmask --stablehlo

Writes into DIR:
  model.safetensors          the weights with the names of public PyTorch code
  model.masks.safetensors    what is pruned, if anything is
  model.stablehlo            with --stablehlo: a program, read by jax.export.deserialize
  card.json                  accuracy, sparsities, exact counts, configuration, sizes
"""

import hashlib
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import tyro

from dst_jax import models, train
from dst_jax.data.recipes import recipe_of
from dst_jax.models import export
from dst_jax.models.export import Format
from dst_jax.runs import Run
from dst_jax.trees import named_leaves
from dst_jax.typing import Network

__all__ = ["Options", "main", "write"]


@dataclass(frozen=True)
class Options:
    """Which run, and what of it."""

    run_dir: Annotated[str, tyro.conf.Positional]
    """A run directory."""
    out: str | None = None
    """Where the files go; RUN_DIR/export if not given."""
    format: Format = "dense"
    """Of the weights: dense loads into PyTorch as it is, the others are smaller."""
    stage: str | None = None
    """Which stage's end; the last one's if not given."""
    stablehlo: bool = False
    """Also a StableHLO program, for a batch of any size on CPU, CUDA and TPU."""


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = tyro.cli(
        Options, args=argv, prog="python -m experiments.export", description=__doc__
    )
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        files = write(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in files:
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def write(options: Options) -> list[Path]:
    """Writes the files; returns their paths, the card's last.

    Raises:
      ValueError: it is no run, the stage is not finished, or the checkpoint is not the
        network that was evaluated.
    """
    run = Run(options.run_dir, writer=False)
    record, stage = _records(run, options.stage)
    weights = _weights(run, stage)
    network = _network(record["config"])
    out = run.path / "export" if options.out is None else Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    variables = dict(weights.variables)
    saved = export.save_safetensors(
        out / "model.safetensors",
        variables=variables,
        masks=weights.mask,
        format=options.format,
        **network,
    )
    files = [saved.path, *([saved.masks_path] if saved.masks_path else [])]
    if options.stablehlo:
        files.append(_write_program(out / "model.stablehlo", network, variables))
    card = export.model_card(
        record,
        stage,
        num_classes=network["num_classes"],
        input=_input(record["config"]["data"]),
        params_sha256=train.records.params_sha256(weights.params),
        files=[_described(path) for path in files],
    )
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return [*files, out / "card.json"]


def _records(run: Run, stage: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """config.json and the record of one stage."""
    record = run.read_config()
    if record is None:
        raise ValueError(f"{run.path} is not a run: it has no config.json")
    name = stage or record["stages"][-1]
    if name not in record["stages"]:
        raise ValueError(f"--stage must be one of {record['stages']}, got {name!r}")
    found = run.read_stage(name)
    if found is None:
        raise ValueError(f"{run.path} has not finished its stage {name}")
    return record, found


def _weights(run: Run, stage: dict[str, Any]) -> Network:
    """The checkpoint at a stage's end, recounted against the stage's record."""
    name = stage["name"]
    found = [p for p in run.checkpoints.iterdir() if p.name.partition(".")[0] == name]
    if not found:
        raise ValueError(f"{run.checkpoints} has no checkpoint of the stage {name}")
    last = max(found, key=lambda path: path.stat().st_mtime)  # of its phases
    weights = train.load_weights(last, sharding=train.replicated(train.make_mesh()))
    leaves = named_leaves(weights.params)
    for layer, recorded in stage["layers"]["weights"].items():
        zeros = int(np.sum(np.asarray(leaves[layer]) == 0))
        if zeros != recorded["zeros"]:
            raise ValueError(
                f"{last}: {layer} has {zeros} zeros, {recorded['zeros']} when the stage"
                " was evaluated: it is not the network that the card would describe"
            )
    return weights


def _network(config: dict[str, Any]) -> dict[str, Any]:
    """The name and options of the run's network, as the exporters take them."""
    given = {k: v for k, v in config["model"].items() if v is not None}
    return {
        "model_name": given.pop("name"),
        "num_classes": recipe_of(config["data"]["name"]).num_classes,
        "input_shape": _image_shape(config["data"]),
        **given,
        "dtype": jnp.dtype(config["model"]["dtype"]),
    }


def _image_shape(data: dict[str, Any]) -> tuple[int, int, int]:
    recipe = recipe_of(data["name"])
    size = data["image_size"] or recipe.image_size
    return size, size, recipe.channels


def _input(data: dict[str, Any]) -> dict[str, Any]:
    recipe = recipe_of(data["name"])
    return {
        "shape": list(_image_shape(data)),
        "order": "height, width, channels; PyTorch's is channels, height, width",
        "value": "(pixel / 255 - mean) / std, float32",
        "mean": list(recipe.mean),
        "std": list(recipe.std),
    }


def _write_program(path: Path, network: dict[str, Any], variables: Any) -> Path:
    options = dict(network)
    name, shape = options.pop("model_name"), options.pop("input_shape")
    model = models.create(name, **options)
    path.write_bytes(export.stablehlo(model.apply, variables, shape).serialize())
    return path


def _described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"name": path.name, "bytes": len(content), "sha256": digest}


if __name__ == "__main__":
    sys.exit(main())
