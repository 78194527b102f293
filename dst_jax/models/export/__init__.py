"""Exports trained networks: PyTorch, compressed files, StableHLO, model cards.

    network = train.load_weights(run_dir, sharding=sharding, model=model)
    save_safetensors("net.safetensors", "resnet18", network)
    Path("net.stablehlo").write_bytes(stablehlo(network, (224, 224, 3)).serialize())

docs/export.md describes how to reach ONNX through safetensors.
"""

from dst_jax.models.export.card import model_card
from dst_jax.models.export.program import stablehlo
from dst_jax.models.export.weights import Format, Saved, save_safetensors, state_dict
from dst_jax.models.torch.compressed import read as load_compressed

__all__ = [
    "Format",
    "Saved",
    "load_compressed",
    "model_card",
    "save_safetensors",
    "stablehlo",
    "state_dict",
]
