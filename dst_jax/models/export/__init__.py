"""Exports trained networks: PyTorch, compressed files, StableHLO, ONNX, model cards.

    network = train.load_weights(run_dir, sharding=sharding, model=model)
    save_safetensors("net.safetensors", "resnet18", network)
    Path("net.stablehlo").write_bytes(stablehlo(network, (224, 224, 3)).serialize())

A network from which channels have been removed is exported with its smaller shapes;
docs/export.md has the PyTorch code that takes them.
"""

from dst_jax.models.export.card import model_card
from dst_jax.models.export.kept_channels import kept_channels
from dst_jax.models.export.onnx_model import OnnxModel, onnx
from dst_jax.models.export.program import stablehlo
from dst_jax.models.export.weights import Format, Saved, save_safetensors, state_dict
from dst_jax.models.torch.compressed import read as load_compressed

__all__ = [
    "Format",
    "OnnxModel",
    "Saved",
    "kept_channels",
    "load_compressed",
    "model_card",
    "onnx",
    "save_safetensors",
    "stablehlo",
    "state_dict",
]
