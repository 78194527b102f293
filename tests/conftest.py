"""Strict numerics and shape checks for every test; a cache of compiled programs."""

import os
import sys
import tempfile
import types

from beartype import BeartypeConf, beartype
from hypothesis import settings
from jaxtyping import install_import_hook

# An int where a float is asked for is fine, as PEP 484 has it.
checker = types.ModuleType("checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore
sys.modules["checker"] = checker
install_import_hook("dst_jax", "checker.check")

# Also for the processes that tests start. A directory for each worker: what one reads
# while another writes it could be cut short.
compiled = tempfile.TemporaryDirectory(prefix="dst_jax-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
