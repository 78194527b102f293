"""What is compared: penalties at strengths and shape parameters."""

import itertools
from dataclasses import dataclass, replace

from dst_jax import penalties
from dst_jax.train import Term
from experiments.options.texts import about, file_name, number, pairs

__all__ = ["Setting", "parse"]


@dataclass(frozen=True)
class Setting:
    """One penalty, fully specified.

    Attributes:
      penalty: one of `penalties.names()`, `module:attribute`, or `control` for none.
      strength: alpha in Yu & Tian 2024: sum over elements, mean over the batch. None
        for the control.
      options: the shape parameters that are given, such as `(("a", 1.0),)`.
      budget: points of hold-out accuracy that FATReLUs may cost, put on after the
        training (Kurtz et al. 2020); None is none.
    """

    penalty: str
    strength: float | None
    options: tuple[tuple[str, float], ...] = ()
    budget: float | None = None

    @property
    def name(self) -> str:
        """A name that is also a file's.

        >>> Setting("transformed_l1", 2e-5, (("a", 0.1),)).name
        'transformed_l1_a0.1_2e-05'
        >>> Setting("l1", 2e-5, budget=0.05).name
        'l1_2e-05_fatrelu0.05'
        """
        parts = [file_name(self.penalty)]
        parts += [f"{name}{value:g}" for name, value in self.options]
        if self.strength is not None:
            parts.append(f"{self.strength:g}")
        if self.budget is not None:
            parts.append(f"fatrelu{self.budget:g}")
        return "_".join(parts)

    @property
    def method(self) -> str:
        """What one strength is chosen for: the penalty, alone or with FATReLUs.

        >>> Setting("l1", 2e-5, budget=0.05).method
        'l1 + FATReLU'
        """
        return self.penalty if self.budget is None else f"{self.penalty} + FATReLU"

    def term(self, *, warmup: float) -> Term:
        """The term of the objective; settings of one penalty compile once.

        Args:
          warmup: epochs over which the strength rises.

        Raises:
          ValueError: the control has none.

        >>> Setting("mcp", 0.5, (("gamma", 2.0),)).term(warmup=1).options
        {'gamma': 2.0}
        """
        if self.strength is None:
            raise ValueError(f"{self.name} has no penalty")
        return Term(
            penalties.get(self.penalty),
            self.strength,
            options=dict(self.options),
            warmup=warmup,
        )


def parse(lines: tuple[str, ...], budgets: tuple[float, ...] = ()) -> list[Setting]:
    """The settings of a grid.

    Args:
      lines: `PENALTY strength=NUMBER,... [OPTION=NUMBER,...]` each; all combinations
        of a line are meant.
      budgets: each setting is there with every one of them too, and the control.

    Raises:
      ValueError: a line that is not of this form, or a value that is not allowed.

    >>> [s.name for s in parse(("l1 strength=1e-5,1e-4",))]
    ['l1_1e-05', 'l1_0.0001']
    """
    plain = [setting for line in lines for setting in _line(line)]
    dense = Setting("control", None)
    settings = [
        *plain,
        *(replace(s, budget=budget) for budget in budgets for s in (dense, *plain)),
    ]
    names = [setting.name for setting in settings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"--grid names {', '.join(twice)} more than once")
    return settings


def _line(line: str) -> list[Setting]:
    penalty, *texts = line.split()
    with about(f"--grid: {line!r}"):
        axes = {
            name: [number(value) for value in values.split(",")]
            for name, values in pairs(texts)
        }
        strengths = axes.pop("strength", [])
        if not strengths:
            raise ValueError("needs strength=NUMBER,...")
        if min(strengths) <= 0:
            raise ValueError("strengths must be > 0")
        shapes = [
            tuple(zip(axes, values, strict=True))
            for values in itertools.product(*axes.values())
        ]
        for shape in shapes:
            penalties.get(penalty, **dict(shape))
    return [
        Setting(penalty, strength, shape) for shape in shapes for strength in strengths
    ]
