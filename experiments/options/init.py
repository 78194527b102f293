"""Options of the weights to start from: a run, a checkpoint, a file, a package."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    import jax

    from dst_jax.train import Context
    from dst_jax.typing import Network
    from experiments.options.config import Config

__all__ = ["InitOptions"]

_TORCHVISION, _PIP = "torchvision:", "pip:"
_PREFIXES = (_TORCHVISION, _PIP)
_FILES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class InitOptions:
    """Trained weights to start from, instead of fresh ones."""

    path: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A run directory, a stage's checkpoints, one checkpoint, a .safetensors, .pth,
    .pt or .bin file, torchvision:NAME, or pip:NAME of a package of weights, such as
    pip:efficientnet_lite0."""
    new_head: bool = False
    """Begin with a fresh last layer, for other classes than those of the weights."""

    def check(self, config: "Config") -> None:
        """Refuses a path that does not exist, and stages that need one.

        >>> from experiments.options import Config
        >>> InitOptions("nowhere").check(Config())
        Traceback (most recent call last):
        ValueError: --init.from: nowhere does not exist
        """
        source, stages = self.path, config.run.stages
        if source is None:
            if "pretrain" not in stages:
                first = stages[0] if stages else "nothing but evaluation"
                raise ValueError(
                    f"--run.stages starts with {first}: give --init.from its weights"
                )
        elif not source.startswith(_PREFIXES) and not _exists(source):
            raise ValueError(f"--init.from: {_printable(source)} does not exist")
        if self.new_head and (source is None or not _is_torch(source)):
            raise ValueError(
                "--init.new_head is for --init.from of a file of weights,"
                f" {_TORCHVISION}NAME or {_PIP}NAME, got {_printable(str(source))}"
            )
        if self.new_head and not stages:
            raise ValueError(
                "--init.new_head needs a stage of --run.stages that trains it, got none"
            )

    def rehearse(self, config: "Config") -> None:
        """Refuses an unknown package, and one with the weights of another network.

        >>> from experiments.options import Config
        >>> InitOptions("pip:efficientnet_lite0").rehearse(Config())
        Traceback (most recent call last):
        ValueError: --init.from pip:efficientnet_lite0 is for --model.name efficient...
        """
        from dst_jax import checks
        from dst_jax.models.torch.packages import PACKAGES

        source = self.path or ""
        if not source.startswith(_PIP):
            return
        name = source.removeprefix(_PIP)
        checks.one_of(f"--init.from {_PIP}NAME", name, tuple(PACKAGES))
        if config.model.name != PACKAGES[name].network:
            raise ValueError(
                f"--init.from {source} is for --model.name {PACKAGES[name].network},"
                f" got {config.model.name}"
            )

    def network(self, config: "Config", context: "Context") -> "Network | None":
        """The network, checked against the model; None if the option is not given.

        Raises:
          ValueError: the source cannot be read, or its weights do not fit the model.
        """
        from dst_jax import train

        source = self.path
        if source is None:
            return None
        if _is_torch(source):
            network = _from_torch(source, self.new_head, config, context)
        else:
            loaded = train.load_weights(source, sharding=context.sharding)
            network = context.with_model(loaded)
        context.check_weights(network)
        return network


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long for the system, or no text of a path
        return False


def _is_torch(source: str) -> bool:
    """Whether it names weights of PyTorch, in a file or elsewhere."""
    return source.startswith(_PREFIXES) or Path(source).suffix in _FILES


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _from_torch(
    source: str, new_head: bool, config: "Config", context: "Context"
) -> "Network":
    import jax

    from dst_jax.models.torch import importer, packages
    from dst_jax.typing import Network

    name, options = config.model.name, config.model.given()
    options |= {
        "num_classes": context.dataset.num_classes,
        "input_shape": context.dataset.image_shape,
    }
    mask, fresh = None, _fresh_head(name, options, context) if new_head else None
    try:
        if source.startswith(_TORCHVISION):
            module = _torchvision(source.removeprefix(_TORCHVISION))
            variables = importer.variables(name, module, new_head=fresh, **options)
        else:
            if source.startswith(_PIP):
                path = packages.find(source.removeprefix(_PIP))
            else:
                path = Path(source)
            variables = importer.load(name, path, new_head=fresh, **options)
            mask = importer.masks(name, path, new_head=new_head, **options)
    except ModuleNotFoundError as error:
        raise ValueError(f"--init.from {source}: {error}") from None
    network = Network(context.model, variables, mask)
    return jax.device_put(network, context.sharding)


def _fresh_head(
    name: str, options: dict[str, Any], context: "Context"
) -> "dict[str, jax.Array]":
    """The last layer of a newly initialised network, by path."""
    import jax

    from dst_jax.models.torch.layout import last_layer, layout_of
    from dst_jax.trees import named_leaves

    layout = layout_of(name, **options)
    paths = [layout.leaves[leaf].path for leaf in sorted(last_layer(layout))]

    def head() -> dict[str, jax.Array]:
        leaves = named_leaves(context.fresh_weights().variables)
        return {path: leaves[path] for path in paths}

    return jax.jit(head)()  # which compiles nothing for the other layers


def _torchvision(name: str) -> Any:
    """A network of torchvision with the weights it is published with."""
    try:
        torchvision: Any = importlib.import_module("torchvision")
    except ImportError as error:
        raise ValueError(
            f"--init.from {_TORCHVISION}{name} needs torchvision, which cannot be"
            f" imported ({error}): pip install torch torchvision, or save the weights"
            " as .safetensors or .pth elsewhere and give the file"
        ) from None
    try:
        # The weights of the paper's baselines: V2 has another recipe and accuracy.
        return torchvision.models.get_model(name, weights="IMAGENET1K_V1").eval()
    except (ValueError, KeyError) as error:
        raise ValueError(f"--init.from {_TORCHVISION}{name}: {error}") from None
    except OSError as error:
        raise ValueError(
            f"--init.from {_TORCHVISION}{name}: the weights cannot be downloaded"
            f" ({error}); fetch them where there is a network, and give the file"
        ) from None
