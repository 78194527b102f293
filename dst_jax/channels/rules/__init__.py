"""What every primitive makes of the units of its operands, one file per kind."""

from dst_jax.channels.rules.rule_table import apply

__all__ = ["apply"]
