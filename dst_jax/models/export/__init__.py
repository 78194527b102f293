"""Trained networks out: to PyTorch, to compressed files, to StableHLO, with a card.

    save_safetensors("net.safetensors", "resnet18", variables, masks=masks)
    Path("net.stablehlo").write_bytes(
        stablehlo(model.apply, variables, (224, 224, 3)).serialize()
    )

To ONNX there is a documented way through safetensors: docs/export.md.
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
