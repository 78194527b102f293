"""A finished run as files that other programs read.

COMMAND
  python -m experiments.export RUN_DIR --out DIR --format bitmask --stablehlo

Writes into DIR:
  model.safetensors          the weights with the names of public PyTorch code
  model.masks.safetensors    what is pruned, if anything is
  model.stablehlo            with --stablehlo: a program, read by jax.export.deserialize
  model.onnx                 with --onnx: a model for onnxruntime and others
  card.json                  metrics, sparsities, exact counts, kept channels,
                             configuration, sizes
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments.running.command_line import parse, status

if TYPE_CHECKING:
    from dst_jax.runs import Run
    from dst_jax.typing import Network
    from experiments.options import Config

__all__ = ["Options", "main", "write"]


@dataclass(frozen=True)
class Options:
    """Which run, and what of it."""

    run_dir: Annotated[str, tyro.conf.Positional]
    """A run directory."""
    out: str | None = None
    """Directory of the files; RUN_DIR/export if not given."""
    format: Literal["dense", "bitmask", "csr"] = "dense"
    """Format of the weights: dense loads into PyTorch as it is, the others are
    smaller."""
    stage: str | None = None
    """Which stage's end; the last one's if not given."""
    stablehlo: bool = False
    """Also a StableHLO program, for a batch of any size on CPU, CUDA and TPU."""
    onnx: bool = False
    """Also an ONNX model, for a batch of any size; needs jax2onnx (docs/export.md)."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      argv: the arguments; the command line's by default.

    >>> main(["runs/none"])
    2
    """
    options = parse(Options, argv, name="export", doc=__doc__)
    return status(lambda: options, _print_sizes)


def write(options: Options) -> list[Path]:
    """Writes the files; returns their paths, the card's last.

    Raises:
      ValueError: it is no run, the stage is not finished, or the checkpoint is not the
        network that was evaluated.

    >>> write(Options("runs/none"))
    Traceback (most recent call last):
    ValueError: ...runs/none is not a run: it has no config.json
    """
    from dst_jax import train
    from dst_jax.models import export
    from dst_jax.runs import Run, to_json, write_text
    from experiments.running.config_record import nested, options_of

    run = Run(options.run_dir, writer=False)
    record, stage = _records(run, options.stage)
    config = options_of(run)
    # As recorded: the images are not needed, and may be elsewhere.
    data = record.get("data") or config.data.summary()
    network = _network(run, stage, config, num_classes=data["num_classes"])
    out = run.path / "export" if options.out is None else Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    named = {
        "num_classes": data["num_classes"],
        "input_shape": tuple(data["image_shape"]),
        **config.model.arguments(),
    }
    saved = export.save_safetensors(
        out / "model.safetensors",
        config.model.name,
        network,
        format=options.format,
        **named,
    )
    files = [saved.path, *([saved.masks_path] if saved.masks_path else [])]
    if options.stablehlo:
        program = export.stablehlo(network, named["input_shape"])
        files.append(out / "model.stablehlo")
        files[-1].write_bytes(program.serialize())
    if options.onnx:
        model = export.onnx(network, named["input_shape"])
        files.append(out / "model.onnx")
        files[-1].write_bytes(model.SerializeToString())
    card = export.model_card(
        {"command": None, **record, "config": nested(config) | record["config"]},
        stage,
        num_classes=data["num_classes"],
        class_names=data.get("class_names", ()),
        input=_input(data),
        params_sha256=train.records.params_sha256(network.params),
        files=[_described(path) for path in files],
        channels=export.kept_channels(config.model.name, network, **named),
        variables=network.variables,
    )
    write_text(out / "card.json", to_json(card, indent=2) + "\n")
    return [*files, out / "card.json"]


def _print_sizes(options: Options) -> None:
    for path in write(options):
        print(f"{path}: {path.stat().st_size:,} bytes")


def _records(run: "Run", stage: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """config.json and the record of one stage."""
    from dst_jax import checks

    record = run.read_config()
    if record is None:
        raise ValueError(f"{run.path} is not a run: it has no config.json")
    name = stage or record["stages"][-1]
    if name not in record["stages"]:
        raise ValueError(
            f"--stage must be one of {record['stages']}, got {name!r}"
            f"{checks.suggestion(name, record['stages'])}"
        )
    found = run.read_stage(name)
    if found is None:
        raise ValueError(f"{run.path} has not finished its stage {name}")
    return record, found


def _network(
    run: "Run", stage: dict[str, Any], config: "Config", *, num_classes: int
) -> "Network":
    """The network at a stage's end, recounted against the stage's record."""
    import numpy as np

    from dst_jax import train
    from dst_jax.train.stage_order import directory_of
    from dst_jax.trees import named_leaves

    last = directory_of(run, stage["name"])
    network = train.load_weights(
        last,
        sharding=train.replicated(train.make_mesh()),
        model=config.model.create(num_classes=num_classes),
    )
    leaves = named_leaves(network.params)
    for layer, recorded in stage["layers"]["weights"].items():
        zeros = int(np.sum(np.asarray(leaves[layer]) == 0))
        if zeros != recorded["zeros"]:
            raise ValueError(
                f"{last}: {layer} has {zeros} zeros, {recorded['zeros']} when the stage"
                " was evaluated: it is not the network that the card would describe"
            )
    return network


def _input(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "shape": list(data["image_shape"]),
        "order": "height, width, channels; PyTorch's is channels, height, width",
        "value": "(pixel / 255 - mean) / std, float32",
        "mean": list(data["mean"]),
        "std": list(data["std"]),
    }


def _described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"name": path.name, "bytes": len(content), "sha256": digest}


if __name__ == "__main__":
    sys.exit(main())
