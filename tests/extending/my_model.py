"""A network.

A network is a Linen module, or a function that returns one, and takes `num_classes`.
Its other fields are options. A `Tap` behind each ReLU makes the map known.

COMMAND
  python -m experiments.mnist_lenet5 --preset demo --model.name my_model:Net \\
    --model.options units=12
"""

import flax.linen as nn

from dst_jax.activations import Tap


class Net(nn.Module):
    """One hidden layer."""

    num_classes: int
    units: int = 8

    @nn.compact
    def __call__(self, x, *, train=False):
        """Logits of a batch of images."""
        del train
        x = nn.relu(nn.Dense(self.units, name="fc1")(x.reshape(len(x), -1)))
        return nn.Dense(self.num_classes, name="fc2")(Tap(name="relu1")(x))
