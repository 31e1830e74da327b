"""All tests run in float64, with strict promotion, with annotated shapes and every "converged" checked."""

import atexit
import collections
import contextlib
import ctypes
import functools
import gc
import inspect
import itertools
import math
import os
import shutil
import signal
import tempfile
from pathlib import Path

import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# What is called for every letter of a file is checked often enough. A function inside of another is made anew at every
# call of that, and its checker each time takes a millisecond or two: a quarter of the time of all tests.
MOST_CALLS, MOST_MADE = 10_000, 8
made = collections.Counter()
always = jaxtyping.jaxtyped


def at_first(function=None, *, typechecker):
    if function is None:
        return functools.partial(at_first, typechecker=typechecker)
    if not inspect.isfunction(function):
        return always(function, typechecker=typechecker)
    made[function.__code__] += "<locals>" in function.__qualname__
    if made[function.__code__] > MOST_MADE:
        return function
    checked, calls = always(function, typechecker=typechecker), itertools.count()

    @functools.wraps(function)
    def call(*args, **kwargs):
        return (checked if next(calls) < MOST_CALLS else function)(*args, **kwargs)

    return call


jaxtyping.jaxtyped = at_first
jaxtyping.install_import_hook("cojax", "beartype.beartype")

# The command sets it where it is not there, and a program that a later test starts would round otherwise than this one.
os.environ.setdefault("XLA_FLAGS", "")

# The command keeps compiled programs in the user's folder for caches: here in one that goes with the tests. Workers and
# programs that tests start find there what others have compiled.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="cojax-tests-")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(os.environ["XDG_CACHE_HOME"], "programs"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# Tests that a shell starts in the background have SIGINT ignored, and the programs that they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Tracing makes many objects that stay: looking through them at every 700 new ones is a tenth of its time.
gc.set_threshold(50_000, 20, 20)


def pytest_collection_modifyitems(items):
    """The longest file first: at the end one worker would be alone with it."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture(scope="module", autouse=True)
def programs_are_forgotten():
    """Thousands of compiled programs take gigabytes, and more mappings of memory than the 65 530 that Linux allows.

    Forgotten only where there are many: the small programs are those of the next module too, and take seconds. The C
    library then keeps what they took, 1.5 of 2.1 GB, until it is told to give it back.
    """
    yield
    if num_mappings() > 25_000 or resident() > 2.5e9:
        jax.clear_caches()
        gc.collect()
        with contextlib.suppress(AttributeError):  # the C library of another system
            ctypes.CDLL(None).malloc_trim(0)


def num_mappings():
    maps = Path("/proc/self/maps")
    return maps.read_text().count("\n") if maps.exists() else math.inf


def resident():
    """Bytes of memory that this process has, where there are mappings to count."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="session", autouse=True)
def converged_means_certified():
    """No run of any test may call itself converged and break what that promises."""
    from support import contract

    with contract.watched():
        yield
