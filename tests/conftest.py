"""Strict numerics for every test, shape checks on demand; workers that stay small."""

import collections
import ctypes
import gc
import os
import resource
import sys
import tempfile
import types

import pytest
from beartype import BeartypeConf, beartype
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

if os.environ.get("CHECK_TYPES"):  # of arguments and results, with shapes; slower
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
settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")

SLOW = 1.5  # seconds of processor: a test whose cases take more is marked slow
TRAIN = {  # fixtures that train a network: what asks for one is slow
    *("finished", "followed", "regressed", "run_dir", "trained", "uninterrupted"),
    "whole_run",
}
LARGE = 1.5e9  # bytes: a worker that holds more after a file drops its programs
LIMIT = 2.5e9  # bytes: a worker that ever held more fails the run


class Workers:
    """Limits the memory of every worker; says which tests should be marked slow."""

    def __init__(self):
        self.used: dict[str, tuple[float, float]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        start = _processor()
        try:
            return (yield)
        finally:
            item.user_properties.append(("processor", _processor() - start))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item, nextitem):
        # Tests of one file share programs, and some count how often they are traced.
        within = nextitem is not None and nextitem.path == item.path
        if within and item.get_closest_marker("many_programs") is None:
            return
        if _held() > (1.2 * LARGE if within else LARGE):
            jax.clear_caches()
            gc.collect()
            _return_freed_memory()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        if output := getattr(node, "workeroutput", None):  # it did not crash
            self.used[node.gateway.id] = output["used"]

    def pytest_sessionfinish(self, session):
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["used"] = _peak(), _processor()
            return
        self.used = self.used or {"this process": (_peak(), _processor())}
        if any(peak > LIMIT for peak, _ in self.used.values()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("workers")
        for name, (peak, seconds) in self.used.items():
            used = f"{name} used {seconds:.0f} s of processor, {peak / 1e9:.2f} GB"
            failed = f" of memory: FAILED, may use {LIMIT / 1e9} GB"
            terminalreporter.line(used + (failed if peak > LIMIT else " of memory"))
        tests = collections.Counter()  # seconds of all cases of a test
        for report in terminalreporter.stats.get("passed", []):
            if "slow" not in report.keywords:
                test = report.nodeid.partition("[")[0]
                tests[test] += dict(report.user_properties).get("processor", 0)
        for test, seconds in tests.most_common():
            if seconds > SLOW:
                terminalreporter.line(f"not marked slow: {seconds:.1f} s {test}")


def pytest_configure(config):
    config.pluginmanager.register(Workers())  # a conftest's hooks see its folder alone


@pytest.fixture(scope="session")
def torch():
    """PyTorch; without it the test is skipped."""
    return pytest.importorskip("torch")


@pytest.fixture
def scan3_off():
    """Skips what JAX 0.12 cannot do, or does wrongly, with `JAX_SCAN3=1`."""
    if getattr(jax.config, "jax_scan3", False):
        pytest.skip("JAX_SCAN3: no gradient, no vmap, no reverse, no loop of length 0")


def pytest_itemcollected(item):
    fixtures = set(getattr(item, "fixturenames", ()))
    if "torch" in fixtures:
        item.add_marker("torch")
    if fixtures & TRAIN:
        item.add_marker("slow")


def _held() -> int:
    """Bytes of memory that this process holds now; 0 where /proc is missing."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _processor() -> float:
    """Seconds of processor that this process and those it waited for have used."""
    return sum(os.times()[:4])


def _peak() -> int:
    """The most bytes of memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _return_freed_memory() -> None:
    """Gives freed memory back to the system, which glibc does not do by itself."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
