"""Every public transformation of optax descends on the tracked gradient, wherever its updates point, or is refused."""

import inspect

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax
import pytest
from optax import contrib
from support import laws

import cojax

RATE = 0.05
NETWORK = cojax.network(laws.ring_with_chords())
ROOTS, TARGETS = np.asarray(laws.quadratic().data[0]), np.asarray(laws.quadratic().data[1])
BEST = np.linalg.lstsq(ROOTS.reshape(-1, 3), TARGETS.ravel(), rcond=None)[0]


def by_rate(*names, of=optax):
    return {name: lambda name=name: getattr(of, name)(RATE) for name in names}


def by_name(*names, of=optax):
    return {name: getattr(of, name) for name in names}


def early(step, *_, **__):
    return step < 5


def size(updates):
    return optax.global_norm(updates)


DESCENDING = {
    **by_rate("adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad"),
    **by_rate("fromage", "lamb", "lars", "lion", "nadam", "nadamw", "novograd", "optimistic_adam_v2", "radam"),
    **by_rate("optimistic_gradient_descent", "rmsprop", "rprop", "sgd", "sign_sgd", "signum", "sm3", "yogi"),
    **by_rate("acprop", "ademamix", "adopt", "cocob", "dadapt_adamw", "dog", "dowg", "madgrad", "muon", of=contrib),
    **by_rate("galore", "prodigy", "schedule_free_adamw", "schedule_free_sgd", "simplified_ademamix", of=contrib),
    **by_name("apply_every", "centralize", "identity", "normalize_by_update_norm", "scale_by_adadelta", "zero_nans"),
    **by_name("scale_by_adam", "scale_by_adamax", "scale_by_adan", "scale_by_amsgrad", "scale_by_belief"),
    **by_name("scale_by_distance_over_gradients", "scale_by_factored_rms", "scale_by_lion", "scale_by_novograd"),
    **by_name("scale_by_optimistic_gradient", "scale_by_param_block_norm", "scale_by_param_block_rms"),
    **by_name("scale_by_radam", "scale_by_rms", "scale_by_rss", "scale_by_sign", "scale_by_sm3", "scale_by_stddev"),
    **by_name("scale_by_trust_ratio", "scale_by_yogi"),
    **by_name("normalize", "scale_by_acprop", "scale_by_ademamix", "scale_by_adopt", "scale_by_cocob", of=contrib),
    **by_name("scale_by_simplified_ademamix", of=contrib),
    "adaptive_grad_clip": lambda: optax.adaptive_grad_clip(0.1),
    "add_decayed_weights": lambda: optax.add_decayed_weights(1e-3),
    "add_noise": lambda: optax.add_noise(1e-3, 0.55, key=1),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(RATE), 3),
    "chain": lambda: optax.chain(optax.clip(1.0), optax.adam(RATE), optax.keep_params_nonnegative()),
    "clip": lambda: optax.clip(1.0),
    "clip_by_block_rms": lambda: optax.clip_by_block_rms(1.0),
    "clip_by_global_norm": lambda: optax.clip_by_global_norm(1.0),
    "conditionally_mask": lambda: optax.conditionally_mask(optax.sgd(RATE), early),
    "ema": lambda: optax.ema(0.9),
    "flatten": lambda: optax.flatten(optax.adam(RATE)),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=RATE),
    "inject_stateful_hyperparams": lambda: optax.inject_stateful_hyperparams(optax.adam)(learning_rate=RATE),
    "masked": lambda: optax.masked(optax.sgd(RATE), True),
    "multi_transform": lambda: optax.multi_transform({"a": optax.adam(RATE)}, "a"),
    "multi_steps": lambda: optax.MultiSteps(optax.sgd(RATE), 4).gradient_transformation(),
    "named_chain": lambda: optax.named_chain(("a", optax.clip(1.0)), ("b", optax.adam(RATE))),
    "noisy_sgd": lambda: optax.noisy_sgd(RATE, key=1),
    "optimistic_adam": lambda: optax.optimistic_adam(RATE, optimism=0.1),
    "partition": lambda: optax.partition({"a": optax.adam(RATE)}, "a"),
    "scale": lambda: optax.scale(0.1),
    "scale, negative": lambda: optax.scale(-0.1),
    "scale_by_learning_rate": lambda: optax.scale_by_learning_rate(0.1),
    "scale_by_rprop": lambda: optax.scale_by_rprop(0.01),
    "scale_by_schedule": lambda: optax.scale_by_schedule(optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 2000)),
    "sgd, warmed up": lambda: optax.sgd(optax.warmup_constant_schedule(0.0, 0.1, 10)),
    "sgd, at rest first": lambda: optax.sgd(lambda step: jnp.where(step < 100, 0.0, 0.1)),
    "selective_transform": lambda: optax.selective_transform(optax.sgd(RATE), freeze_mask=False),
    "snapshot": lambda: optax.snapshot("size", size),
    "stateless": lambda: optax.stateless(lambda updates, params: jax.tree.map(jnp.negative, updates)),
    "stateless_with_tree_map": lambda: optax.stateless_with_tree_map(lambda update, param: 2 * update),
    "trace": lambda: optax.trace(0.9),
    "with_extra_args_support": lambda: optax.with_extra_args_support(optax.sgd(RATE)),
    "mechanize": lambda: contrib.mechanize(optax.adam(RATE)),
    "scale_by_galore": lambda: contrib.scale_by_galore(2, 10, 1.0),
    "scale_by_madgrad": lambda: contrib.scale_by_madgrad(0.9, 1e-6, 0.0),
    "schedule_free": lambda: contrib.schedule_free(optax.sgd(RATE), RATE),
    "split_real_and_imaginary": lambda: contrib.split_real_and_imaginary(optax.adam(RATE)),
}
MORE, BOTH, NOTHING = "of a gradient and params alone", "it would climb in some", "that answers a gradient"
REFUSED = {
    "lbfgs": (lambda: optax.lbfgs(), MORE),
    "lbfgs, no search": (lambda: optax.lbfgs(RATE, linesearch=None), MORE),
    "scale_by_lbfgs": (lambda: optax.scale_by_lbfgs(), MORE),
    "polyak_sgd": (lambda: optax.polyak_sgd(), MORE),
    "scale_by_polyak": (lambda: optax.scale_by_polyak(), MORE),
    "scale_by_backtracking_linesearch": (lambda: optax.scale_by_backtracking_linesearch(10), MORE),
    "scale_by_zoom_linesearch": (lambda: optax.scale_by_zoom_linesearch(10), MORE),
    "lookahead": (lambda: optax.lookahead(optax.sgd(RATE), 5, 0.5), MORE),
    "momo": (lambda: contrib.momo(RATE), MORE),
    "momo_adam": (lambda: contrib.momo_adam(RATE), MORE),
    "sophia": (lambda: contrib.sophia(RATE), MORE),
    "hutchinson_estimator_diag_hessian": (lambda: contrib.hutchinson_estimator_diag_hessian(), MORE),
    "reduce_on_plateau": (lambda: contrib.reduce_on_plateau(), MORE),
    "dpsgd": (lambda: contrib.dpsgd(RATE, 1.0, 0.1, 1), MORE),
    "differentially_private_aggregate": (lambda: contrib.differentially_private_aggregate(1.0, 0.1, 1), MORE),
    "scale_by_muon": (lambda: contrib.scale_by_muon(), MORE),  # of matrices alone
    "sam": (lambda: contrib.sam(optax.sgd(RATE), optax.chain(contrib.normalize(), optax.sgd(RATE))), BOTH),
    "conditionally_transform": (lambda: optax.conditionally_transform(optax.sgd(RATE), early), BOTH),
    "keep_params_nonnegative": (lambda: optax.keep_params_nonnegative(), BOTH),
    "measure_with_ema": (lambda: optax.measure_with_ema(size, 0.9), MORE),  # measurements instead of updates
    "monitor": (lambda: optax.monitor({"size": optax.measure_with_ema(size, 0.9)}), MORE),  # a state that grows
    "freeze": (lambda: optax.freeze(True), NOTHING),
    "set_to_zero": (lambda: optax.set_to_zero(), NOTHING),
}
QUICK = ("adam", "sgd, warmed up", "chain", "scale_by_sign", "trace", "add_decayed_weights", "noisy_sgd")
QUICK_REFUSED = ("polyak_sgd", "lbfgs, no search", "sam", "keep_params_nonnegative", "set_to_zero")


def table(names, quick):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.exhaustive) for name in names]


def cost(x, data):
    roots, targets = data
    return 0.5 * jnp.sum((roots @ x.params - targets) ** 2)


def learned(transform, num_steps=150, step_size=0.05, away=2.0):
    """The costs of all nodes at the start and after some steps of DIGing with `transform`, and the run."""
    problem = cojax.Problem(cost, (ROOTS, TARGETS))
    start = problem.start(jnp.broadcast_to(BEST + away, (8, 3)))
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to a whole number
        learner = cojax.DIGing(step_size, mixing=0.5, transform=transform)
        length = dict(num_steps=num_steps, every=num_steps)
        run = cojax.solve(problem, NETWORK, cojax.CoOpt(learn=learner), start, **length)
    return float(problem.costs(start).sum()), float(run.trace.cost[-1]), run


@pytest.mark.parametrize("name", table(DESCENDING, QUICK))
def test_a_transformation_descends_whichever_way_its_updates_point(name):
    before, after, _ = learned(DESCENDING[name]())
    assert after < before


@pytest.mark.parametrize("name", table(REFUSED, QUICK_REFUSED))
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_descend_is_refused_in_a_sentence(name):
    make, message = REFUSED[name]
    with pytest.raises(cojax.CojaxInputError, match=message) as caught:
        learned(make())
    assert "needs a transform" in str(caught.value) and "\n" not in str(caught.value)


def test_the_tables_hold_every_public_transformation():
    found = set()
    for module in (optax, contrib):
        for name, function in vars(module).items():
            if inspect.isfunction(function) and not name.startswith("_"):
                returned = str(inspect.signature(function).return_annotation)
                found |= {name} if "GradientTransformation" in returned else set()
    assert found <= {*DESCENDING, *REFUSED}
    assert len(found) > 90


def test_an_optimizer_is_its_own_transformation_with_the_sign_turned():
    runs = [
        learned(transform, 40, step_size)[2].x.params
        for transform, step_size in ((optax.adam(0.02), 1.0), (optax.scale_by_adam(), 0.02))
    ]
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-12, atol=1e-14)


def test_adam_on_the_tracked_gradient_is_a_plain_loop():
    """DIGing and Adam written down once more, in NumPy."""
    weights = cojax.network(laws.ring_with_chords(), layout="dense").weights
    mix = 0.5 * (np.asarray(weights) - np.diag(np.asarray(weights).sum(1)))
    y = np.broadcast_to(BEST + 2.0, (8, 3))

    def slope(y):
        return np.einsum("nij,ni->nj", ROOTS, np.einsum("nij,nj->ni", ROOTS, y) - TARGETS)

    z, mean, square = slope(y), np.zeros((8, 3)), np.zeros((8, 3))
    for step in range(1, 41):
        mean, square = 0.9 * mean + 0.1 * z, 0.999 * square + 0.001 * z**2
        move = 0.02 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        before, y = y, y + mix @ y - move
        z = z + mix @ z + slope(y) - slope(before)
    np.testing.assert_allclose(learned(optax.adam(0.02), 40, 1.0)[2].x.params, y, atol=1e-12)


def test_noise_is_another_at_every_node_and_goes_on_from_a_state():
    """Nodes that are alike in all but their noise."""
    problem = cojax.Problem(lambda x, target: jnp.sum((x.params - target) ** 2), np.ones((8, 2)))
    method = cojax.CoOpt(learn=cojax.DIGing(0.05, mixing=0.5, transform=optax.add_noise(1.0, 0.55, key=3)))
    start = problem.start(jnp.zeros((8, 2)))
    with jax.numpy_dtype_promotion("standard"):
        whole = cojax.solve(problem, NETWORK, method, start, num_steps=2)
        half = cojax.solve(problem, NETWORK, method, start, num_steps=1)
        rest = cojax.solve(problem, NETWORK, method, half.state, num_steps=1)
    first = np.asarray(half.x.params)
    # A step of 0.05 against 2 (0 - 1) and a normal number, so that no two entries of 16 are alike.
    assert len(np.unique(first)) == 16 and np.abs(first - 0.1).max() < 0.05 * 5
    np.testing.assert_allclose(rest.x.params, whole.x.params, atol=1e-15)  # two programs


def test_numbers_in_a_transformation_are_differentiable():
    def final(rate):
        return learned_cost(cojax.DIGing(1.0, mixing=0.5, transform=optax.sgd(rate)))

    def learned_cost(learner):
        problem = cojax.Problem(cost, (ROOTS, TARGETS))
        start = problem.start(jnp.zeros((8, 3)))
        length = dict(num_steps=5, every=5, record=laws.nothing)
        return problem.costs(cojax.solve(problem, NETWORK, cojax.CoOpt(learn=learner), start, **length).x).sum()

    slope, same = jax.grad(final)(0.05), jax.grad(lambda step: learned_cost(cojax.DIGing(step, mixing=0.5)))(0.05)
    np.testing.assert_allclose(slope, same, rtol=1e-10)


def test_runs_through_adam_are_differentiable_with_a_root_of_its_own_where_a_node_lacks_a_feature():
    """Its second moment is 0 there, whose root optax 0.2.8 differentiates to NaN."""
    features = np.arange(8.0)[:, None] * np.array([1.0, 0.0])

    def end(scale, root):
        problem = cojax.Problem(lambda x, data: jnp.sum((x.params - data) ** 2), scale * features)
        method = cojax.CoOpt(learn=cojax.DIGing(transform=optax.adam(RATE, eps_root=root)))
        start = problem.start(params=jnp.zeros((8, 2)))
        with jax.numpy_dtype_promotion("standard"):
            return cojax.solve(problem, NETWORK, method, start, num_steps=5).x.params.sum()

    difference = (end(1 + 1e-6, 1e-16) - end(1 - 1e-6, 1e-16)) / 2e-6
    with jax.numpy_dtype_promotion("standard"):
        slope = jax.grad(end)(1.0, 1e-16)
    np.testing.assert_allclose(slope, difference, rtol=1e-5)


def test_what_is_no_transformation_is_refused():
    with pytest.raises(cojax.CojaxInputError, match=r"such as optax.adam\(0.05\), got adam"):
        cojax.DIGing(0.1, transform=optax.adam)


def test_a_flax_module_descends_with_an_optimizer():
    """Its trees are not compared by `==`: a graph of Flax holds no leaves that compare."""
    nnx = pytest.importorskip("flax.nnx")

    class Line(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(2, 1, param_dtype=jnp.float64, dtype=jnp.float64, rngs=rngs)

        def __call__(self, inputs):
            return self.linear(inputs)

    models = nnx.vmap(lambda key: Line(nnx.Rngs(key)))(jax.random.split(jax.random.key(0), 4))
    features = np.random.default_rng(0).normal(size=(4, 6, 2))

    def cost(x, data):
        return jnp.mean((x.params(data[0])[:, 0] - data[1]) ** 2)

    problem = cojax.Problem(cost, (features, features @ np.array([1.0, -2.0])))
    start = problem.start(models)
    method = cojax.CoOpt(cojax.DIGing(1.0, mixing=0.5, transform=optax.sgd(0.05)))
    run = cojax.solve(problem, cojax.network(nx.cycle_graph(4)), method, start, num_steps=200, every=200)
    assert run.trace.cost[-1] < 0.05 * problem.costs(start).sum()
