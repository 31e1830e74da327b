"""Every quantizer stays in the sector it promises, and its derivatives are straight-through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cojax

HARD = [0.0, -0.0, 5e-324, -5e-324, 2.3e-308, 1.0, -1.0, 1e300, -1e300]
values = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False, min_value=-1e30, max_value=1e30)


@given(value=values.filter(lambda u: abs(u) > 1e-290), rho=st.floats(1e-3, 3.0))
@settings(max_examples=200, deadline=None)
def test_t7_the_log_ratio_stays_in_its_sector_and_is_odd_and_idempotent(value, rho):
    quantizer = cojax.LogQuantizer(rho)
    rounded = quantizer(jnp.asarray(value))
    # One rounding of exp and log at exponents up to 700.
    slack = 1 + 1e-12
    assert np.exp(-rho / 2) / slack <= float(rounded) / value <= np.exp(rho / 2) * slack
    assert quantizer(jnp.asarray(-value)) == -rounded
    np.testing.assert_allclose(quantizer(rounded), rounded, rtol=1e-12)


def told(quantizer, sizes):
    """All numbers that come out, of those of both signs and 0."""
    rounded = quantizer(jnp.asarray(np.concatenate([-sizes, [0.0], sizes])))
    known = np.sort(np.unique(np.asarray(rounded)))
    return known[np.concatenate([[True], np.diff(known) > 1e-9 * np.abs(known[1:])])]  # some differ in the last bit


@given(rho=st.floats(0.05, 3.0), low=st.floats(-8.0, 8.0), apart=st.floats(0.01, 8.0))
@settings(max_examples=100, deadline=None)
def test_as_many_numbers_come_out_of_a_finite_alphabet_as_its_bits_tell_apart(rho, low, apart):
    quantizer = cojax.LogQuantizer(rho, smallest=np.exp(low), largest=np.exp(low + apart))
    known = told(quantizer, np.exp(np.linspace(low - 3 * rho, low + apart + 3 * rho, 4001)))
    assert int(quantizer.num_bits(jnp.float64)) == (len(known) - 1).bit_length()
    lowest, highest = known[known > 0][[0, -1]]
    for level, end in ((lowest, low), (highest, low + apart)):
        assert abs(np.log(level) - end) <= rho / 2 * (1 + 1e-9)
    np.testing.assert_array_equal(quantizer(jnp.asarray([0.98, 1e-9]) * lowest * np.exp(-rho / 2)), 0.0)
    top = highest * np.exp(rho / 2)
    assert quantizer.saturates(jnp.asarray([0.99 * top, 1.01 * top]), None).tolist() == [False, True]


@given(delta=st.floats(0.05, 3.0), steps=st.floats(0.51, 300.0))
@settings(max_examples=100, deadline=None)
def test_as_many_numbers_come_out_of_equal_levels_as_their_bits_tell_apart(delta, steps):
    quantizer = cojax.UniformQuantizer(delta, largest=steps * delta)
    known = told(quantizer, np.linspace(0.0, (steps + 3) * delta, 4001))
    assert int(quantizer.num_bits(jnp.float64)) == (len(known) - 1).bit_length()
    assert abs(known[-1] - steps * delta) <= delta / 2 * (1 + 1e-9)
    beyond = known[-1] + delta * np.asarray([0.49, 0.51])
    assert quantizer.saturates(jnp.asarray(beyond), None).tolist() == [False, True]


def test_slopes_in_the_outermost_cell_are_those_of_the_others():
    quantizer = cojax.LogQuantizer(1.0, smallest=np.exp(-2), largest=np.exp(2))
    for u in (6.65, 8.2, -7.0, 0.15):
        told, slope = jax.value_and_grad(quantizer)(jnp.asarray(u))
        np.testing.assert_allclose(slope, told / u, rtol=1e-12)
        by_rho = jax.grad(
            lambda rho, u=u: cojax.LogQuantizer(rho, smallest=np.exp(-2), largest=np.exp(2))(jnp.asarray(u))
        )(1.0)
        np.testing.assert_allclose(by_rho, told * (np.round(np.log(abs(u))) - np.log(abs(u))), rtol=1e-12)
    assert jax.grad(quantizer)(jnp.asarray(13.0)) == 0.0
    slope = jax.grad(cojax.UniformQuantizer(1.0, largest=3.0))
    assert [float(slope(jnp.asarray(u))) for u in (2.2, 2.8, 3.2, -3.4, 4.0)] == [1.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_16_bit_floats_saturate_where_their_levels_end(dtype):
    equal = cojax.UniformQuantizer(1e-3, largest=100.0)  # of 10^5 levels, which float16 does not count
    assert equal.saturates(jnp.asarray([50.0, 200.0], dtype), None).tolist() == [False, True]
    log = cojax.LogQuantizer(1 / 64, smallest=1e-2, largest=100.0)
    assert log.saturates(jnp.asarray([100.5, 103.0], dtype), None).tolist() == [False, True]


@pytest.mark.parametrize(
    ("quantizer", "dtype", "bits"),
    [
        (cojax.UniformQuantizer(1e-9, largest=1e30), jnp.float32, 131),  # 2e39 levels, and 2^130.6 are as many
        (cojax.UniformQuantizer(1e6), jnp.float16, 0),  # all numbers become 0
        (cojax.UniformQuantizer(0.5), jnp.float64, 1026),
        # Of float16 from 2^-24, its least number, to 65504: 138 levels a sign, from -83 to 55.
        (cojax.LogQuantizer(0.2), jnp.float16, 9),
    ],
)
def test_alphabets_that_are_very_long_or_very_short_are_counted(quantizer, dtype, bits):
    assert int(quantizer.num_bits(dtype)) == bits


@pytest.mark.parametrize("rho", [1 / 64, 1.0])
def test_the_log_ratio_of_16_bit_floats_stays_in_its_sector(rho):
    random = np.random.default_rng(0)
    values = jnp.asarray(np.exp(random.uniform(-80, 80, 5000)), jnp.bfloat16)
    ratio = np.asarray(cojax.LogQuantizer(rho)(values), np.float64) / np.asarray(values, np.float64)
    slack = 1 + 2.0**-8  # one rounding to 8 bits
    assert np.exp(-rho / 2) / slack <= ratio.min() and ratio.max() <= np.exp(rho / 2) * slack


def test_t7_the_upper_end_of_the_log_sector_is_above_one_plus_half_rho():
    values = jnp.exp(jnp.linspace(-1.0, 1.0, 20001))
    ratio = cojax.LogQuantizer(1.0)(values) / values
    assert 1.5 < float(ratio.max()) <= np.exp(0.5) + 1e-12
    assert np.exp(-0.5) - 1e-12 <= float(ratio.min()) < 0.61


@pytest.mark.parametrize("quantizer", [cojax.LogQuantizer(0.5), cojax.UniformQuantizer(0.1), cojax.FloatQuantizer(3)])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_zero_stays_zero_and_hard_values_stay_finite_with_finite_derivatives(quantizer, dtype):
    hard = jnp.asarray([value for value in HARD if abs(value) < float(jnp.finfo(dtype).max)], dtype)
    rounded, slope = jax.vmap(jax.value_and_grad(quantizer))(hard)
    assert rounded.dtype == dtype
    assert np.asarray(rounded[:2], np.float64).tolist() == [0.0, 0.0]
    assert jnp.all(jnp.isfinite(rounded)) and jnp.all(jnp.isfinite(slope))


LEVELS_OF_16_BITS = [
    cojax.LogQuantizer(0.25),
    cojax.LogQuantizer(1.0),
    cojax.LogQuantizer(10.0),
    cojax.LogQuantizer(0.25, largest=10.0),
    cojax.LogQuantizer(1.0, smallest=1e-12, largest=1e6),  # more than float16 has at either end
    cojax.UniformQuantizer(3e4),
    cojax.UniformQuantizer(1e5),
    cojax.UniformQuantizer(4e4, largest=7e4),
    cojax.FloatQuantizer(0),
    cojax.FloatQuantizer(3),
]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("quantizer", LEVELS_OF_16_BITS, ids=repr)
def test_of_all_16_bit_floats_come_as_many_finite_numbers_as_the_bits_tell_apart(quantizer, dtype):
    codes = np.arange(2**16, dtype=np.uint16).view(dtype)
    finite = jnp.asarray(codes)[jnp.isfinite(jnp.asarray(codes))]
    rounded, slopes = jax.vmap(jax.value_and_grad(quantizer))(finite)
    rounded = np.asarray(rounded, np.float64)
    assert np.isfinite(rounded).all() and np.isfinite(np.asarray(slopes, np.float64)).all()
    known = np.unique(rounded + 0.0)  # 0 and -0 are one number
    bits = int(quantizer.num_bits(dtype))
    if isinstance(quantizer, cojax.UniformQuantizer) and quantizer.largest is None and dtype == jnp.bfloat16:
        assert len(known) <= 2**bits  # up to 3e38 the dtype has fewer numbers than there are levels
    else:
        assert bits == (len(known) - 1).bit_length()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_numbers_at_the_ends_of_a_dtype_become_finite_numbers_with_finite_derivatives(dtype):
    info = jnp.finfo(dtype)
    end = float(info.max)
    sizes = np.asarray([end, 0.98 * end, end / 1.6, end / 2, float(info.tiny), 1.5 * float(info.tiny)])
    ends = jnp.asarray(np.concatenate([sizes, -sizes]), dtype)
    quantizers = [
        *LEVELS_OF_16_BITS,
        *(cojax.LogQuantizer(np.log(end) / count) for count in (1, 3, 88, 700)),  # whose last level may be beyond
        *(cojax.UniformQuantizer(end / count) for count in (1, 2.5, 3, 7, 1e9)),
        *(rule(1e300) for rule in (cojax.LogQuantizer, cojax.UniformQuantizer)),
        cojax.UniformQuantizer(1e-3),
        cojax.FloatQuantizer(info.nmant - 1),
        cojax.FloatQuantizer(52),
    ]
    for quantizer in quantizers:
        rounded, slopes = jax.vmap(jax.value_and_grad(quantizer))(ends)
        assert rounded.dtype == dtype and bool(jnp.isfinite(rounded).all() & jnp.isfinite(slopes).all()), quantizer
    for rule, size in ((cojax.LogQuantizer, 0.25), (cojax.UniformQuantizer, 1e-3), (cojax.UniformQuantizer, end / 2.5)):
        by_size = jax.vmap(jax.grad(lambda size, u, rule=rule: rule(size)(u).astype(float)), (None, 0))(size, ends)
        assert bool(jnp.isfinite(by_size).all())
    np.testing.assert_array_equal(cojax.UniformQuantizer(1e-3)(ends[:4]), ends[:4])  # all of them are whole thousandths
    for quantizer in (
        *(cojax.AdaptiveQuantizer(bits, first=first) for bits in (2, 16) for first in (1e-300, 0.6 * end)),
        *(cojax.OneBitQuantizer(first=first) for first in (1e-300, 0.6 * end)),
    ):
        scale = quantizer.first_scale(ends)
        for _ in range(3):
            rounded, scale = quantizer.adapt(ends, scale)
            assert bool(jnp.isfinite(rounded).all() & jnp.isfinite(scale).all() & (scale != 0).all()), quantizer
    for quantizer in (cojax.TopK(2), cojax.RandK(2)):
        slopes = jax.jacobian(quantizer)(ends)
        assert bool(jnp.isfinite(quantizer(ends)).all() & jnp.isfinite(slopes).all()), quantizer
    assert bool(jnp.isfinite(cojax.RandK(1)(jnp.ones(70_000, dtype))).all())  # 70 000 is beyond float16


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_an_infinite_number_is_told_as_one_and_what_is_none_as_none(dtype):
    # Else a run whose costs overflow would go on with the largest number of the dtype.
    wild = jnp.asarray([jnp.inf, -jnp.inf, jnp.nan], dtype)
    for quantizer in (
        cojax.LogQuantizer(0.25),
        cojax.UniformQuantizer(1e-3),
        cojax.FloatQuantizer(3),
        cojax.FloatQuantizer(52),
        cojax.RandK(3),
        cojax.TopK(3),
    ):
        np.testing.assert_array_equal(np.asarray(quantizer(wild), np.float64), [np.inf, -np.inf, np.nan])


def test_levels_at_the_end_of_a_dtype_are_those_of_hand_counts():
    assert float(cojax.LogQuantizer(1.0)(jnp.float32(3e38))) == pytest.approx(np.exp(88.0), rel=1e-5)  # 88 ulps
    assert float(cojax.LogQuantizer(0.25, largest=10.0)(jnp.float32(3.3e38))) == pytest.approx(np.exp(2.25), rel=1e-6)
    assert float(jax.grad(cojax.LogQuantizer(0.25, largest=10.0))(jnp.float32(3.3e38))) == 0.0
    assert float(cojax.FloatQuantizer(3)(jnp.float16(65000.0))) == 15 / 8 * 2**15
    thousands = cojax.UniformQuantizer(1e3)(jnp.asarray([65_499.0, 65_504.0], jnp.float16))
    assert thousands.tolist() == [64_992.0, 64_992.0]  # 65 000, in steps of 32
    beyond = cojax.UniformQuantizer(1e5)(jnp.asarray([-6e4, 0.0, 6e4], jnp.float16))
    assert beyond.tolist() == [0.0, 0.0, 0.0]  # the one level that float16 has


@given(value=values)
@settings(max_examples=100, deadline=None)
def test_uniform_rounding_errs_by_half_a_level_at_most(value):
    error = abs(float(cojax.UniformQuantizer(0.25)(jnp.asarray(value))) - value)
    assert error <= 0.125 or error <= 1e-15 * abs(value)


@given(value=values.filter(lambda u: abs(u) > 1e-290), bits=st.integers(0, 52))
@settings(max_examples=100, deadline=None)
def test_float_rounding_stays_in_its_sector(value, bits):
    ratio = float(cojax.FloatQuantizer(bits)(jnp.asarray(value))) / value
    assert 1 - 2.0 ** -(bits + 1) <= ratio <= 1 + 2.0 ** -(bits + 1)


def test_the_log_derivatives_are_the_straight_through_rule_in_the_log_domain():
    value, rho = 1.7, 0.5
    t = np.log(value) / rho
    rounded = np.exp(rho * np.round(t))
    by_value, by_rho = jax.grad(lambda u, r: cojax.LogQuantizer(r)(u), argnums=(0, 1))(jnp.asarray(value), rho)
    np.testing.assert_allclose(by_value, rounded / value, rtol=1e-12)
    np.testing.assert_allclose(by_rho, rounded * (np.round(t) - t), rtol=1e-12)


@given(bits=st.integers(2, 6), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_adaptive_scale_follows_a_message_over_60_orders_of_magnitude(bits, seed):
    quantizer = cojax.AdaptiveQuantizer(bits)
    random = np.random.default_rng(seed)
    messages = jnp.asarray(random.normal(size=3000) * np.exp(-0.04 * np.arange(3000)))

    def send(carry, message):
        held, scale = carry
        rounded, scale = quantizer.adapt(message - held, scale)
        return (held + rounded, scale), rounded / message

    (held, _), _ = jax.lax.scan(send, (jnp.zeros(()), jnp.ones(())), messages)
    assert abs(float(held)) < 1e-40


def test_the_adaptive_receiver_needs_only_the_level():
    quantizer = cojax.AdaptiveQuantizer(2)
    one, other = quantizer.adapt(jnp.asarray([0.2, 5.0]), jnp.asarray([1.0, 1.0]))
    np.testing.assert_allclose(one, [0.5, 1.5])
    np.testing.assert_allclose(other, [0.8, 1.6])


def test_one_bit_grows_while_signs_repeat_and_shrinks_when_they_change():
    quantizer = cojax.OneBitQuantizer(0.5, 3.0, first=1.0)
    held, size, last = 0.0, 1.0, 1.0
    scale = quantizer.first_scale(jnp.zeros(()))
    for value in (5.0, 5.0, 5.0, -1.0, 2.0, 2.0, 2.0):
        sign = -1.0 if value - held < 0 else 1.0
        rounded, scale = quantizer.adapt(jnp.asarray(value - held), scale)
        assert float(rounded) == sign * size
        held, size, last = held + sign * size, size * (3.0 if sign == last else 0.5), sign
    assert float(jnp.abs(scale)) == size
    assert float(quantizer.num_bits(jnp.float64)) == 1.0
    assert quantizer.saturates(jnp.asarray([2.1, -2.1, 1.9]), jnp.asarray([-1.0, 1.0, 1.0])).tolist() == [
        True,
        True,
        False,
    ]


def test_one_bit_follows_a_message_down_and_back_up():
    quantizer = cojax.OneBitQuantizer()
    steps = jnp.arange(600.0)
    for messages, wanted in ((0.8**steps, 1e-50), (1e-30 * 1.2**steps, None)):

        def send(carry, message):
            held, scale = carry
            rounded, scale = quantizer.adapt(message - held, scale)
            return (held + rounded, scale), held + rounded

        _, heard = jax.lax.scan(send, (jnp.zeros(()), jnp.asarray(1e-30 if wanted is None else 1.0)), messages)
        off = jnp.abs(heard - messages)[-50:]
        if wanted is None:
            assert float((off / messages[-50:]).max()) < 2.0  # growing by a fifth a message, it is never lost
        else:
            assert float(off.max()) < wanted


messages = st.lists(values, min_size=1, max_size=12)


@given(value=messages, k=st.integers(1, 14))
@settings(max_examples=100, deadline=None)
def test_the_k_largest_are_kept_as_they_are_and_what_is_lost_is_small(value, k):
    quantizer, value = cojax.TopK(k), np.asarray(value)
    rounded = np.asarray(quantizer(jnp.asarray(value)))
    expected = np.zeros_like(value)
    for place in sorted(range(value.size), key=lambda place: -abs(value[place]))[:k]:  # the first of equal ones
        expected[place] = value[place]
    np.testing.assert_array_equal(rounded, expected)
    np.testing.assert_array_equal(quantizer(jnp.asarray(-value)), -rounded)
    np.testing.assert_array_equal(quantizer(jnp.asarray(rounded)), rounded)
    lost = max(1 - k / value.size, 0.0) * (value**2).sum()
    assert ((value - rounded) ** 2).sum() <= lost * (1 + 1e-14)  # sums of at most 12 squares


def test_the_largest_of_a_leaf_of_any_shape_and_their_slopes():
    value = jnp.asarray([[1.0, -4.0], [3.0, 2.0]])
    rounded, slopes = jax.value_and_grad(lambda leaf: (cojax.TopK(2)(leaf) ** 2).sum() / 2)(value)
    assert float(rounded) == (16 + 9) / 2
    np.testing.assert_array_equal(slopes, [[0, -4], [3, 0]])


@given(value=messages, k=st.integers(1, 14), node=st.integers(0, 10**5), step=st.integers(0, 2**31 - 1))
@settings(max_examples=50, deadline=None)
def test_k_numbers_are_chosen_at_random_and_lose_what_was_not(value, k, node, step):
    value, quantizer = jnp.asarray(value), cojax.RandK(k, 3).at(node, step)
    kept, _ = quantizer.adapt(value, None)
    chosen = np.asarray(quantizer.adapt(jnp.ones_like(value), None)[0]) > 0
    assert chosen.sum() == min(k, value.size)
    np.testing.assert_array_equal(kept, np.where(chosen, value, 0))
    np.testing.assert_array_equal(quantizer.adapt(kept, None)[0], kept)
    np.testing.assert_array_equal(quantizer(value), np.asarray(kept) * max(value.size / k, 1.0))


def test_every_number_is_chosen_as_often_and_what_is_heard_without_memory_is_right_on_average():
    quantizer, value = cojax.RandK(2), jnp.asarray([1.0, -2.0, 4.0, 0.5, 3.0])
    steps = jnp.arange(5000)
    heard = jax.vmap(lambda step: quantizer.at(7, step)(value))(steps)
    of_nodes = jax.vmap(lambda node: quantizer.at(node, 7)(value))(steps)
    for drawn in (heard, of_nodes):
        # A mean of 5000 draws of 5/2 with probability 2/5 is within 5 deviations, sqrt(3/2 / 5000) each.
        np.testing.assert_allclose(drawn.mean(0) / value, 1.0, atol=5 * np.sqrt(1.5 / 5000))
    both = np.cov((np.asarray(heard) / np.asarray(value)).T) * 4 / 25  # of indicators: -2/5 3/5 / 4 for two of five
    np.testing.assert_allclose(both[~np.eye(5, dtype=bool)], -0.06, atol=0.02)
    slopes = jax.grad(lambda leaf: (quantizer.at(7, 0)(leaf) ** 2).sum() / 2)(value)
    np.testing.assert_allclose(slopes, heard[0] * 2.5)


def test_one_bit_without_memory_is_refused():
    with pytest.raises(cojax.CojaxInputError, match="needs a link with memory"):
        cojax.OneBitQuantizer()(jnp.ones(2))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: cojax.OneBitQuantizer(0.5, 1.5),
            "OneBitQuantizer needs shrink * grow >= 1, got 0.75: a repetition must undo a change.",
        ),
        (lambda: cojax.OneBitQuantizer(first=0), "OneBitQuantizer needs first > 0, got 0."),
        (lambda: cojax.LogQuantizer(-1.0), "LogQuantizer needs rho > 0, got -1."),
        (lambda: cojax.LogQuantizer(0.0), "LogQuantizer needs rho > 0, got 0."),
        (lambda: cojax.LogQuantizer(float("nan")), "LogQuantizer needs rho > 0, got nan."),
        (lambda: cojax.LogQuantizer("fine"), "LogQuantizer needs real numbers for rho, got <U4."),
        (lambda: cojax.LogQuantizer(np.ones(3)), "LogQuantizer needs one number for rho, got shape (3,)."),
        (lambda: cojax.UniformQuantizer(0), "UniformQuantizer needs delta > 0, got 0."),
        (lambda: cojax.TopK(0), "TopK needs a whole number k >= 1, got 0."),
        (lambda: cojax.TopK(1.5), "TopK needs a whole number k >= 1, got 1.5."),
        (lambda: cojax.RandK(0), "RandK needs a whole number k >= 1, got 0."),
        (lambda: cojax.RandK(1, -1), "RandK needs a whole number key >= 0, got -1."),
        (lambda: cojax.FloatQuantizer(2.5), "FloatQuantizer needs a whole number mantissa_bits from 0 to 52, got 2.5."),
        (
            lambda: cojax.FloatQuantizer(60),
            "FloatQuantizer needs a whole number mantissa_bits from 0 to 52, got 60.",
        ),
        (
            lambda: cojax.AdaptiveQuantizer(1),
            "AdaptiveQuantizer needs a whole number bits from 2 to 16, got 1.",
        ),
        (
            lambda: cojax.AdaptiveQuantizer(2, shrink=0.5, grow=1.5),
            "AdaptiveQuantizer needs shrink * grow >= 1, got 0.75: an outer level must undo an inner one.",
        ),
    ],
)
def test_bad_constants_are_refused_with_one_sentence(build, message):
    with pytest.raises(cojax.CojaxInputError) as error:
        build()
    assert str(error.value) == message
