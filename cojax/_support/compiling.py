"""Less waiting for XLA: programs compiled in a fraction of the time on a processor, and kept for later processes."""

import contextlib
import functools
import hashlib
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jax.extend.core import get_opaque_trace_state, jaxpr_as_fun

from .checks import CojaxInputError, as_path, is_concrete

Returned = TypeVar("Returned")

# The older emitters of kernels compile in two thirds of the time of the newer ones, and a step of what they make takes
# 1.2 to 1.4 times as long (`benchmarks/side_by_side.py`). From JAX 0.11 on XLA has them no more.
OLDER_EMITTERS: dict[str, str | bool] = {"xla_cpu_use_fusion_emitters": False}
# Not optimised, a program compiles in a third of that time, and runs one to five times as long. In one piece, for
# 32 pieces, a thread each, take a seventh more processor time, and are not sooner on two cores (by hand).
UNOPTIMISED: dict[str, str | bool] = OLDER_EMITTERS | {
    "xla_backend_optimization_level": "0",
    "xla_cpu_parallel_codegen_split_count": "1",
}
# With more numbers in its arguments a program runs for longer than it compiles: one that runs briefly, and a loop.
MOST_NUMBERS = 1_000_000
MOST_IN_LOOPS = 20_000
MOST_KEPT = 10**9  # bytes
KEEPING = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
# Nothing is traced while this module is imported.
NOTHING_TRACED = get_opaque_trace_state()


def is_traced() -> bool:
    """Whether JAX is tracing: what is called now becomes a part of another program."""
    return get_opaque_trace_state() != NOTHING_TRACED


def count_numbers(tree: Any) -> int:
    """How many numbers there are in all leaves."""
    return sum(map(np.size, jax.tree.leaves(tree)))


class Program(Generic[Returned]):
    """`jax.jit` of a function, which on a processor chooses how XLA compiles it.

    JAX takes options of the compiler only where it compiles, so inside of another traced function there are none: there
    the whole is compiled as its caller likes. `.lower` is that of `jax.jit`.
    """

    def __init__(self, function: Callable[..., Returned], static_argnums: Any, runs_briefly: bool):
        functools.update_wrapper(self, function)
        self._runs_briefly = runs_briefly
        self._made: dict[tuple, Any] = {}
        self._jit = functools.partial(jax.jit, function, static_argnums=static_argnums)
        self._plain: Any = self._jit()

    def __call__(self, *args: Any) -> Returned:
        return self._chosen(args)(*args)

    def lower(self, *args: Any) -> Any:
        return self._chosen(args).lower(*args)

    def _chosen(self, args: tuple) -> Any:
        options, most = (UNOPTIMISED, MOST_NUMBERS) if self._runs_briefly else (OLDER_EMITTERS, MOST_IN_LOOPS)
        # By size, and not by the number of steps: a run in pieces has to have the bits of the whole one.
        if is_traced() or jax.default_backend() != "cpu" or count_numbers(args) > most:
            return self._plain
        return self._with(known_options(tuple(options.items())))

    def _with(self, options: tuple[tuple[str, str | bool], ...]) -> Any:
        if options not in self._made:
            self._made[options] = self._jit(compiler_options=dict(options)) if options else self._plain
        return self._made[options]


def compiled(
    function: Callable[..., Returned], *, static_argnums: Any = (), runs_briefly: bool = False
) -> Program[Returned]:
    """`function`, jitted; `runs_briefly` where compiling is nearly all that a user waits for."""
    return Program(function, static_argnums, runs_briefly)


def quick_jit(function: Callable[..., Returned], *, static_argnums: int | Sequence[int] = ()) -> Program[Returned]:
    """`jax.jit` of a function that runs a few times: on a processor it compiles in about a third of the time.

        slope = cojax.quick_jit(jax.grad(final_cost))(method)  # of a run, once or twice

    XLA leaves out its optimisations, so that each call takes one to five times as long as with `jax.jit`. Where the
    arguments hold more than a million numbers, on a GPU or TPU, and within another `jax.jit` it is `jax.jit` itself.
    So hand over large data as arguments. To rounding both return the same.

    Args:
        function: of arrays and trees of them, in order, none by name.
        static_argnums: places of arguments that are no arrays, as `jax.jit` has them.

    Differentiable where the function is. Raises `CojaxInputError` for what cannot be called.
    """
    if not callable(function):
        raise CojaxInputError(f"quick_jit needs a function, got {type(function).__name__} {function!r:.60}.")
    return compiled(function, static_argnums=static_argnums, runs_briefly=True)


def computed_once(function: Callable[[], Returned]) -> Callable[[], Returned]:
    """`function`, whose numbers are computed at its first call, although JAX may be tracing then, and kept.

    By a program of its own, where `jax.ensure_compile_time_eval` of JAX 0.10.2 has one for every operation. Where
    `function` holds numbers that are traced, its operations are a part of what is traced, at every call.
    """
    kept: list[Returned] = []

    def call() -> Returned:
        if kept:
            return kept[0]
        program, shapes = jax.make_jaxpr(function, return_shape=True)()
        run, treedef = jaxpr_as_fun(program), jax.tree.structure(shapes)
        if not is_concrete(program.consts):
            return treedef.unflatten(run())
        brief = jax.default_backend() == "cpu" and count_numbers(program.consts) <= MOST_NUMBERS
        options = dict(known_options(tuple(UNOPTIMISED.items()))) if brief else None
        kept.append(treedef.unflatten(jax.jit(run).lower().compile(compiler_options=options)()))
        return kept[0]

    return call


@functools.cache
def known_options(options: tuple[tuple[str, str | bool], ...]) -> tuple[tuple[str, str | bool], ...]:
    """Those of the options that this version of XLA knows; of one that it does not it says so when it compiles."""
    try:
        jax.jit(lambda: np.float32(0)).lower().compile(compiler_options=dict(options))
    except Exception:  # whatever kind of error the compiler raises, the program is right without
        return sum((known_options((option,)) for option in options), ()) if len(options) > 1 else ()
    return options


@contextlib.contextmanager
def settings_restored(*names: str) -> Iterator[None]:
    """Sets back what is inside may change: the settings `names` of JAX, and where compiled programs are kept."""
    names = (*names, *KEEPING)
    before = {name: getattr(jax.config, name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def keep_programs(folder: str | Path | None = None) -> Path:
    """Keep compiled programs in a folder, where every later process finds them: call it once, at the beginning.

        cojax.keep_programs()  # the program of the README then takes half of the time (`docs/benchmarks/waiting.md`)

    Args:
        folder: by default `cojax` in the user's folder for caches, and in it one for each version of JAX and each kind
            of processor: a program runs only on the kind that it was compiled for. Above 1 GB the oldest programs go.

    All programs of this process are kept, those of other libraries too: it sets JAX's `jax_compilation_cache_dir` and
    its limits. The folder has to be yours alone: what lies there is run. Returns the folder; raises `CojaxInputError`
    where it cannot be written.
    """
    folder = _user_caches() / "cojax" if folder is None else folder
    above = as_path("keep_programs needs a path for folder", folder).expanduser()
    place = above / f"jax-{jax.__version__}-{_processor()}"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _drop_oldest(above)
    except OSError as error:
        raise CojaxInputError(
            f"keep_programs needs a folder that can be written, got {place}: {error.strerror or error}."
        ) from error
    for name, value in zip(KEEPING, (str(place), 0, -1), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # which asks only once, at its first program, whether there is a folder
    return place


def _user_caches() -> Path:
    given = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    if given:
        return Path(given)
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def _processor() -> str:
    """A name for what this processor can do, the same on all of its kind."""
    facts = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _drop_oldest(folder: Path) -> None:
    """Remove programs, as JAX names their files, in the folders made here, and nothing else that lies there."""
    programs = (path for path in folder.glob("jax-*-*/*-cache") if path.is_file())
    files = sorted(programs, key=lambda path: path.stat().st_mtime)
    size = sum(path.stat().st_size for path in files)
    for path in files:
        if size <= MOST_KEPT:
            return
        size -= path.stat().st_size
        path.unlink(missing_ok=True)
