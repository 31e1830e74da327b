"""On a processor programs are compiled sooner, say the same, and are found again by the next process."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import laws

import cojax
from cojax._support import compiling

HALF = compiling.compiled(lambda x, power: x**power / 2, static_argnums=1)
BRIEF = compiling.compiled(lambda x, power: x**power / 2, static_argnums=1, runs_briefly=True)


@pytest.mark.parametrize("program", [HALF, BRIEF])
def test_options_are_given_where_nothing_is_traced_and_only_there(program):
    x = jnp.arange(4.0)
    np.testing.assert_array_equal(program(x, 2), np.arange(4.0) ** 2 / 2)
    # JAX refuses options of the compiler inside of another program.
    np.testing.assert_array_equal(jax.jit(lambda: program(x, 2))(), np.arange(4.0) ** 2 / 2)
    np.testing.assert_array_equal(jax.grad(lambda x: program(x, 2).sum())(x), x)
    np.testing.assert_array_equal(jax.vmap(lambda x: program(x, 2))(x), np.arange(4.0) ** 2 / 2)
    np.testing.assert_array_equal(jax.jit(jax.vmap(jax.grad(lambda x: program(x, 2))))(x), x)
    assert jax.eval_shape(lambda x: program(x, 2), x).shape == (4,)
    assert "stablehlo" in program.lower(x, 2).as_text()


def test_a_quick_jit_is_the_jit_to_rounding_and_refuses_what_is_no_function():
    problem, network = laws.quadratic(), cojax.network(laws.ring_with_chords())
    start = laws.start_of(problem)

    def final_cost(step_size, num_steps):
        method = cojax.CoOpt(cojax.DIGing(step_size), cojax.Laplacian(0.02))
        return cojax.solve(problem, network, method, start, num_steps=num_steps, every=10).trace.cost[-1]

    slopes = [jit(jax.grad(final_cost), static_argnums=1)(0.02, 20) for jit in (cojax.quick_jit, jax.jit)]
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-12)
    difference = (final_cost(0.02 + 1e-6, 20) - final_cost(0.02 - 1e-6, 20)) / 2e-6
    np.testing.assert_allclose(slopes[0], difference, rtol=1e-6)
    with pytest.raises(cojax.CojaxInputError, match="quick_jit needs a function, got float"):
        laws.unchecked(cojax.quick_jit)(3.0)


def test_a_compiler_that_does_not_know_the_options_compiles_without(monkeypatch):
    """As XLA from JAX 0.11 on no longer knows the older emitters: what it does know is given all the same."""
    level = ("xla_backend_optimization_level", "0")
    assert compiling.known_options((("xla_cpu_use_no_such_thing", True), level)) == (level,)
    assert compiling.known_options((("xla_cpu_use_no_such_thing", True),)) == ()
    monkeypatch.setattr(compiling, "OLDER_EMITTERS", {"xla_cpu_use_no_such_thing": True})
    assert HALF._chosen((jnp.zeros(10),)) is HALF._plain
    np.testing.assert_array_equal(HALF(jnp.arange(3.0), 3), np.arange(3.0) ** 3 / 2)


def test_a_loop_over_much_data_is_compiled_as_it_comes(monkeypatch):
    monkeypatch.setattr(compiling, "OLDER_EMITTERS", {"xla_backend_optimization_level": "1"})
    few, many = (HALF._chosen((np.zeros(size),)) for size in (compiling.MOST_IN_LOOPS, compiling.MOST_IN_LOOPS + 1))
    assert many is HALF._plain
    assert few is not many


def test_much_data_is_worth_an_optimised_program(monkeypatch):
    few, many = (BRIEF._chosen((np.zeros(size),)) for size in (10, compiling.MOST_NUMBERS + 1))
    assert few is not many
    assert few is BRIEF._chosen((jnp.zeros(10),))  # made once
    assert many is BRIEF._plain
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert BRIEF._chosen((jnp.zeros(10),)) is BRIEF._plain


KEPT = """
import sys, jax, cojax, jax.numpy as jnp
jnp.arange(3) + 1  # a program before the folder is known
folder = cojax.keep_programs(sys.argv[1])
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
problem = cojax.Problem(lambda x, want: (x.cpu - want) ** 2, jnp.arange(4.0), budget=8.0)
print(cojax.allocate(problem).cpu, events.count("/jax/compilation_cache/cache_hits"))
"""


def test_the_next_process_finds_the_programs_of_this_one(tmp_path):
    def run():
        command = [sys.executable, "-c", KEPT, str(tmp_path / "programs")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rsplit(maxsplit=1)

    (first, hits), (again, found) = run(), run()
    assert first == again and int(hits) < int(found) >= 2
    (place,) = (tmp_path / "programs").iterdir()
    assert place.stat().st_mode & 0o077 == 0 and any(place.iterdir())


def test_the_oldest_programs_go_where_there_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "MOST_KEPT", 250)
    others = [tmp_path / "letters.txt", tmp_path / "jax-notes" / "a-cache", tmp_path / "jax-0.10.2-x" / "readme"]
    programs = [tmp_path / "jax-0.10.2-x" / f"{name}-cache" for name in "abcd"]
    for age, path in enumerate([*programs, *others]):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    compiling._drop_oldest(tmp_path)
    assert [path.exists() for path in programs] == [True, True, False, False]
    assert all(path.exists() for path in others)  # older, and not programs that were kept here


@pytest.fixture
def compiled_now():
    """The names of the programs that XLA makes while a test runs."""
    names = []

    def hear(event, _, fun_name="", **__):
        if event.endswith("backend_compile_duration"):
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(hear)
    yield names
    jax.monitoring.unregister_event_duration_listener(hear)


def test_what_is_computed_once_is_one_program_while_jax_traces_and_none_afterwards(compiled_now):
    """Within `jax.ensure_compile_time_eval` JAX 0.10.2 compiles every operation of a jitted function by itself."""

    def grown():
        def double(carry):
            return carry[0] + 1, carry[1] * jnp.tanh(carry[1])

        return jax.lax.while_loop(lambda carry: carry[0] < 3, double, (0, jnp.sin(jnp.arange(5.0))))[1]

    known, seen = compiling.computed_once(grown), []

    @jax.jit
    def outer(x):
        seen.extend([known(), known()])
        return x + seen[0][1]

    compiling.known_options(tuple(compiling.UNOPTIMISED.items()))
    compiled_now.clear()
    found = outer(jnp.zeros(()))
    assert len(compiled_now) == 2  # its own and the outer one
    wanted = np.sin(np.arange(5.0))
    for _ in range(3):
        wanted = wanted * np.tanh(wanted)
    np.testing.assert_allclose(np.asarray(seen), np.stack([wanted, wanted]), rtol=1e-13)
    np.testing.assert_allclose(found, wanted[1], rtol=1e-13)
    compiled_now.clear()
    np.testing.assert_array_equal(known(), seen[0])
    assert not compiled_now


def test_what_holds_traced_numbers_stays_a_part_of_what_is_traced():
    def held(x):
        return compiling.computed_once(lambda: jnp.sin(2 * x))()

    np.testing.assert_allclose(jax.jit(jax.grad(held))(0.3), 2 * np.cos(0.6), rtol=1e-13)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(cojax.CojaxInputError, match=r"keep_programs needs a folder that can be written, got .*file"):
        cojax.keep_programs(tmp_path / "file")


def test_the_unoptimised_optimum_is_the_optimised_one(monkeypatch):
    problem = laws.quadratic()
    copies = laws.start_of(problem).params
    soon = cojax.allocate(problem, copies)
    whole = jax.jit(cojax.allocate)(problem, copies)
    np.testing.assert_allclose(soon.cpu, whole.cpu, rtol=1e-14)
    np.testing.assert_allclose(soon.price, whole.price, rtol=1e-13)


def test_where_programs_are_kept_is_set_back_with_other_settings(tmp_path):
    before = [getattr(jax.config, name) for name in compiling.KEEPING]
    with compiling.settings_restored("jax_enable_x64"):
        place = cojax.keep_programs(tmp_path)
        jax.config.update("jax_enable_x64", False)
        jax.jit(lambda x: x * 3 + 1)(jnp.arange(5))
        assert jax.config.jax_compilation_cache_dir == str(place) and any(place.iterdir())
    assert jax.config.jax_enable_x64 and [getattr(jax.config, name) for name in compiling.KEEPING] == before
    kept = len(list(place.iterdir()))
    jax.jit(lambda x: x * 5 + 2)(jnp.arange(7))
    assert len(list(place.iterdir())) == kept
