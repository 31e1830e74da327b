"""The 70 bad inputs and faults of the reliability list, by number, and the test that keeps each.

`here` is a test below whose name begins with the number. Where cojax does something else than the list, it says why.

 1 parts that are not connected: refused; there is no budget per part ->
   test_networks::test_a_graph_that_could_not_work_is_refused
 2 joined over time only: legal; the window is the whole sequence ->
   test_networks::test_a_union_that_is_only_jointly_connected_is_legal
 3 never joined: refused for graphs that are given, told by the status for random ones ->
   test_tolerances::test_links_that_never_connect_all_nodes_are_named_as_the_reason
 4 weights that are not symmetric -> test_networks::test_a_graph_that_could_not_work_is_refused
 5 a directed graph gets balanced weights instead of a refusal ->
   test_networks::test_a_directed_graph_is_balanced_and_its_flow_sums_to_zero
 6 a balanced digraph shares CPU exactly too, as what is sent is rounded, no difference ->
   test_acceptance::test_t9_a_balanced_digraph_keeps_the_total_exactly
 7 negative weights -> test_networks::test_a_graph_that_could_not_work_is_refused
 8 weights of NaN and infinity -> test_networks::test_a_graph_that_could_not_work_is_refused
 9 an edge of weight zero is none -> here
10 self-loops: refused in graphs, dropped with a note from files ->
   test_graphs::test_parallel_links_loops_and_parts_are_reported, here for matrices
11 parallel edges: refused in graphs, collapsed with a note from files ->
   test_graphs::test_parallel_links_loops_and_parts_are_reported, here for sparse matrices
12 a node without links: refused as in 1; without samples -> here
13 no node: refused; one -> test_networks::test_one_node_alone_is_legal_and_optimal_where_it_starts; two -> here
14 edges that end elsewhere, or are no whole numbers -> test_wrong_types::test_a_wrong_type_gets_one_sentence
15 labels of any kind; a missing one is named -> test_networks::test_a_graph_that_could_not_work_is_refused,
   test_plans::test_a_node_table_and_a_graph_over_other_nodes_are_refused_by_name
16 repeated labels in a file -> test_graphs::test_repeated_or_missing_labels_give_way_to_ids
17 weights that are too large: steps and mixing can make up for it, so only `tuned` refuses ->
   test_defaults::test_what_cannot_be_tuned_is_said_in_one_sentence
18 a matrix of all pairs of many nodes -> here
19 a budget outside of the bounds -> test_problems::test_what_would_make_the_answer_wrong_is_refused,
   test_plans::test_a_budget_that_no_shares_can_meet_says_what_is_missing
20 a budget of all upper bounds ->
   test_allocations::test_a_budget_of_all_or_nothing_is_priced_at_the_end_of_its_interval
21 lower > upper -> test_problems::test_what_would_make_the_answer_wrong_is_refused
22 lower = upper -> test_allocations::test_a_node_with_equal_bounds_keeps_its_share
23 no bounds -> test_allocations::test_without_bounds_the_price_is_the_weighted_mean
24 linear costs: solved by `allocate`, refused by `tuned` ->
   test_allocations::test_costs_that_do_not_curve_are_filled_in_order_of_merit,
   test_defaults::test_what_cannot_be_tuned_is_said_in_one_sentence
25 concave costs -> test_reference::test_a_concave_cost_is_refused_with_node_and_interval
26 costs whose slope falls somewhere -> test_reference::test_a_concave_cost_is_refused_with_node_and_interval
27 costs that are no number somewhere ->
   test_reference::test_a_cost_that_is_not_finite_in_its_box_is_refused_with_node_and_share
28 costs that cannot be traced -> test_loop::test_a_cost_that_has_no_derivative_is_refused_in_one_sentence
29 a budget that is no finite number -> test_problems::test_what_would_make_the_answer_wrong_is_refused, here
30 a budget that jumps -> test_changing::test_the_total_is_the_budget_in_force_after_every_step
31 a start with another sum is always refused, never projected: nobody is surprised ->
   test_problems::test_what_would_make_the_answer_wrong_is_refused
32 negative prices and spikes: solved without scaling, so there are no factors to report -> here
33 units that do not match: a note of the command, as capacities may differ that much -> here
34 a node exactly at its bound without a rent is solved and flagged ->
   test_sensitivities::test_a_node_that_just_touches_its_bound_is_flagged_and_moves_one_way
35 rho <= 0 -> test_quantizers::test_bad_constants_are_refused_with_one_sentence
36 a quantization floor -> test_contract::test_whatever_the_link_the_status_claims_no_more_than_the_certificate
37 rho >= 2 log 2 with memory: a warning -> here
38 steps that are not > 0 -> test_loop::test_what_cannot_run_is_refused_before_it_runs; of a wrong shape -> here
39 steps beyond their limit: the limits need curvatures, so `tuned` and `limit` give them ->
   test_defaults::test_steps_are_half_of_their_limits_and_the_limit_says_what_is_proved
40 a step of every node for shares -> test_loop::test_what_cannot_run_is_refused_before_it_runs
41 a mixing of every node -> here
42 no steps -> test_loop::test_no_steps_return_the_start; too many -> here
43 a tolerance below rounding ->
   test_tolerances::test_a_tolerance_below_the_rounding_of_float32_is_refused_with_the_one_it_can_reach
44 zeros and denormals -> test_quantizers::test_zero_stays_zero_and_hard_values_stay_finite_with_finite_derivatives
45 too few bits -> test_links::test_saturations_are_counted_and_a_saturated_run_still_keeps_its_total
46 pickled objects -> test_tables::test_archives_that_cannot_be_meant_are_refused
47 pickled models -> test_tables::test_files_that_could_run_code_are_refused_by_name
48 headers that claim too much ->
   test_hostile_files::test_a_hostile_file_is_refused_within_512_megabytes_and_in_linear_time
49 zip bombs -> test_hostile_files::test_a_hostile_file_is_refused_within_512_megabytes_and_in_linear_time
50 names that lead elsewhere, archives in archives ->
   test_hostile_files::test_a_hostile_file_is_refused_within_512_megabytes_and_in_linear_time
51 truncated files: the array is named, as unpacking knows no byte of the file ->
   test_tables::test_archives_that_cannot_be_meant_are_refused
52 holes and repeats in CSV, an hour that comes twice: refused with the line, nothing is filled in; an hour that is
   missing is not seen, as its label is any text ->
   test_tables::test_tables_of_nodes_that_cannot_be_meant_are_refused,
   test_hours::test_a_series_with_a_mistake_is_refused_at_its_line
53 LIBSVM indices -> test_tables::test_libsvm_files_that_cannot_be_meant_are_refused
54 labels -> test_plans::test_labels_become_what_the_model_wants_and_all_is_scaled_by_the_training_part,
   test_costs::test_labels_other_than_plus_and_minus_one_are_refused
55 dtypes and shapes -> test_problems::test_what_would_make_the_answer_wrong_is_refused, here
56 TOML -> test_plans::test_a_plan_with_a_mistake_is_refused_at_the_mistake,
   test_hostile_files::test_a_huge_file_is_not_opened
57 code as a name -> test_plans::test_a_plan_with_a_mistake_is_refused_at_the_mistake,
   test_wrong_types::test_a_wrong_type_gets_one_sentence
58 plug-ins by path: no key of a plan takes one ->
   test_hostile_files::test_a_hostile_file_is_refused_within_512_megabytes_and_in_linear_time
59 a crash -> test_members::test_the_total_is_the_budget_at_every_step_and_who_is_away_holds_nothing
60 a rejoin -> test_rejoining::test_after_a_rejoin_every_sum_is_right_and_the_optimum_is_found
61 messages late, twice, lost -> test_ledger::test_the_run_is_that_of_nodes_with_queues,
   test_bad_days::test_sums_are_kept_through_bad_days
62 damaged messages -> test_faults::test_a_checksum_sees_every_damage_and_nothing_else
63 kill -9 while saving -> test_checkpoints::test_a_run_that_was_killed_goes_on_to_the_same_bits
64 a full disk -> test_checkpoints::test_a_disk_that_is_full_costs_a_warning_and_not_the_run_or_the_last_checkpoint
65 another run's checkpoint -> test_checkpoints::test_the_checkpoint_of_another_run_is_refused_with_what_differs
66 a signal -> test_checkpoints::test_a_signal_ends_the_piece_and_what_was_saved_goes_on
67 no memory: the command says so; of a trace the need is known before -> here
68 a tolerance that float32 cannot reach ->
   test_tolerances::test_a_tolerance_below_the_rounding_of_float32_is_refused_with_the_one_it_can_reach
69 other devices: a run is the same on eight as on one, and what one saved goes on on eight to a certificate ->
   test_sharding::test_eight_devices_do_what_one_does
70 loops, batches, chunks; on a GPU no test ran ->
   test_laws::test_a_batch_of_methods_over_another_layout_is_the_runs_one_by_one,
   test_loop::test_steps_by_hand_are_the_solve
"""

import ast
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jax.errors import JaxRuntimeError
from scipy import sparse
from scipy.optimize import brentq

import cojax
from cojax import CojaxInputError
from cojax.app.cases import cases
from cojax.app.cli import main
from cojax.app.plans import plans
from cojax.data.datasets import per_node_mean
from cojax.problems.costs import LeastSquares, Price, Samples

TESTS = Path(__file__).parents[1]
ITEMS = {int(item[:2]): item[3:] for item in re.split(r"\n(?=[ \d]\d )", str(__doc__))[1:]}
PROBLEM = cojax.Problem(lambda x, a: a * x.cpu**2, np.array([1.0, 2.0]), 3.0)
NETWORK = cojax.network(nx.path_graph(2))
METHOD = cojax.CoOpt(allocate=cojax.Laplacian(0.3))


def names_in(path):
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_item_of_the_list_is_kept_by_a_test_that_exists():
    assert list(ITEMS) == list(range(1, 71))
    here = names_in(Path(__file__))
    for number, line in ITEMS.items():
        found = re.findall(r"(\w+)::(test_\w+)", line)
        own = [name for name in here if name.startswith(f"test_{number:02}_")]
        assert bool(own) == ("here" in line.split("->", 1)[1]) and (found or own), line
        for module, name in found:
            assert all(name in names_in(path) for path in TESTS.rglob(f"{module}.py")), f"{number}: {name}"


def test_09_an_edge_of_weight_zero_does_not_connect():
    ends = ([0, 1, 1, 2], [1, 0, 2, 1])
    for graph, rule in (
        (sparse.coo_array(([0.5, 0.5, 0.0, 0.0], ends), shape=(3, 3)), cojax.weights.metropolis),
        (nx.path_graph(3), lambda n, pairs: np.array([0.5, 0.0])),
    ):
        with pytest.raises(CojaxInputError, match=r"not connected \(2 parts, of 2, 1 nodes; 2 is in the smallest\)"):
            cojax.network(graph, weights=rule)


def test_10_the_diagonal_of_a_weight_matrix_counts_for_nothing():
    ring = np.roll(np.eye(3), 1, axis=1)
    message = jnp.asarray([1.0, 5.0, 2.0])
    for links in (0.3 * (ring + ring.T), 0.3 * ring):
        mixing = links + np.diag(1 - links.sum(1))
        with_it, without = (
            cojax.network(matrix).hear(cojax.networks.laws.Weigh(), message) for matrix in (mixing, links)
        )
        np.testing.assert_allclose(with_it, without, atol=1e-15)  # a rounding of numbers of size 1


def test_11_entries_of_a_sparse_matrix_that_occur_twice_add_up():
    matrix = sparse.coo_array(([0.1, 0.2, 0.1, 0.2], ([0, 0, 1, 1], [1, 1, 0, 0])), shape=(2, 2))
    np.testing.assert_allclose(cojax.network(matrix).weights, [[0, 0.3], [0.3, 0]], atol=1e-16)


def test_12_a_node_without_samples_costs_nothing():
    none = Samples(jnp.zeros((4, 2)), jnp.zeros(4), jnp.zeros(4))
    value, slope = jax.value_and_grad(LeastSquares())(jnp.ones(2), none)
    assert value == 0 and slope.tolist() == [0, 0]
    assert per_node_mean(none).weights.tolist() == [0, 0, 0, 0]


def test_13_two_nodes_share_as_on_paper():
    run = cojax.solve(PROBLEM, NETWORK, METHOD, PROBLEM.start(), num_steps=60, every=60)
    # 2 x = 4 (3 - x); the difference shrinks to a tenth a step.
    np.testing.assert_allclose(run.x.cpu, [2.0, 1.0], atol=1e-13)


@pytest.mark.parametrize("both_ways", [True, False])
def test_18_a_matrix_of_all_pairs_of_many_nodes_is_refused_before_it_is_made(both_ways):
    num_nodes = 100_000
    ahead = sparse.coo_array((np.full(num_nodes, 0.3), (np.arange(num_nodes), np.roll(np.arange(num_nodes), -1))))
    with pytest.raises(CojaxInputError, match="got 100000 nodes, 80 GB in all; use "):
        cojax.network(ahead + ahead.T if both_ways else ahead, layout="dense")


@pytest.mark.parametrize("budget", [np.inf, -np.inf, np.nan, None, [1.0, np.inf]])
def test_29_a_budget_must_be_finite_or_absent(budget):
    if budget is None:
        assert cojax.Problem(PROBLEM.cost, np.ones(2)).budget is None
        return
    with pytest.raises(CojaxInputError, match="needs finite numbers for budget, got float64 with NaN or infinity"):
        cojax.Problem(PROBLEM.cost, np.ones(2), budget)


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_32_prices_below_zero_and_spikes_of_200_times_need_no_scaling_in_any_unit(unit):
    price = np.array([-364.0, 12.0, 35.0, 60.0, 80.0, 15_637.0])
    curvature, upper = np.full(6, 0.5), np.full(6, 100.0)
    cost = cojax.costs.Separable(allocate=Price())
    data = (None, (jnp.asarray(price / unit), jnp.asarray(curvature / unit**2)))
    found = cojax.allocate(cojax.Problem(cost, data, 350.0 * unit, lower=0.0, upper=upper * unit))

    def shares(level):
        return np.clip((level - price) / curvature, 0, upper)

    level = brentq(lambda level: shares(level).sum() - 350, -1e3, 1e5, xtol=1e-12)
    # Shares of 100 at a price found to 1e-12.
    np.testing.assert_allclose(found.cpu / unit, shares(level), atol=1e-10)
    np.testing.assert_allclose(found.price * unit, level, atol=1e-10)


PLAN = """
[nodes]
names = ["x", "y", "z"]
capacity = [4.0, 4000.0, 5.0]
demand = [1.0, 2.0, 1.0]
[cpu]
budget = 6.0
[graph]
name = "ring"
[link]
name = "innovation"
quantizer = {name = "log", rho = 1.5}
"""


def notes_of(folder, text):
    path = folder / "plan.toml"
    path.write_text(text)
    return cases.build_case(plans.read_plan(path)).wiring.notes


def test_33_a_bound_of_a_thousand_times_the_others_is_noted(tmp_path):
    assert notes_of(tmp_path, PLAN.replace("1.5", "1.3")) == []
    assert notes_of(tmp_path, PLAN.replace("4000.0", "4e6").replace("1.5", "1.3")) == [
        "The upper bound of 'y', 4e+06, is 8e+05 times the median of all nodes: check that all are in one unit."
    ]


@pytest.mark.parametrize(("rho", "follows"), [(1.38, True), (1.39, False)])
def test_37_a_memory_follows_every_number_below_2_log_2_and_a_warning_says_where_not(tmp_path, recwarn, rho, follows):
    told, held = np.exp(np.linspace(0, rho, 1001)), np.zeros(1001)
    for _ in range(400):
        gap = np.where(told == held, 1, told - held)
        held += np.where(told == held, 0, np.sign(gap) * np.exp(rho * np.round(np.log(np.abs(gap)) / rho)))
    assert (np.abs(told - held).max() < 1e-9) == follows
    cojax.Innovation(cojax.LogQuantizer(rho))
    sentence = f"Innovation needs rho < 1.386 to be sure to follow its messages, got {rho}"
    assert [sentence in str(warning.message) for warning in recwarn] == ([] if follows else [True])
    notes = notes_of(tmp_path, PLAN.replace("1.5", str(rho)))
    assert [note.startswith(f"$.link: {sentence}") for note in notes] == ([] if follows else [True])


def test_38_steps_of_a_wrong_number_of_nodes_are_refused():
    problem = cojax.Problem(lambda x, a: a * jnp.sum(x.params**2), np.ones(2))
    method = cojax.CoOpt(learn=cojax.DIGing(np.full(3, 0.1)))
    with pytest.raises(CojaxInputError, match=r"one step_size, or one for each of the 2 nodes, got shape \(3,\)"):
        cojax.solve(problem, NETWORK, method, problem.start(jnp.ones((2, 1))), num_steps=1)


def test_41_steps_may_differ_by_node_but_what_mixes_trackers_may_not():
    assert cojax.DIGing(np.array([0.1, 0.2])).step_size.shape == (2,)
    with pytest.raises(CojaxInputError, match=r"DIGing needs one number for mixing, got shape \(2,\)"):
        cojax.DIGing(0.1, mixing=np.array([0.5, 0.6]))


def test_42_more_steps_than_32_bits_count_are_refused():
    with pytest.raises(CojaxInputError, match="num_steps <= 2147483647, got 1000000000000: steps are counted"):
        cojax.solve(PROBLEM, NETWORK, METHOD, PROBLEM.start(), num_steps=10**12, every=10**12)


def test_55_half_precision_is_data_and_samples_before_nodes_are_not():
    data = Samples(np.ones((2, 5, 3), np.float16), np.ones((2, 5)), np.ones((2, 5)))
    assert cojax.Problem(LeastSquares(), data).data.features.dtype == jnp.float16
    with pytest.raises(CojaxInputError, match=r"one number of nodes > 0 on the first axis of data, got \[2, 5\]"):
        cojax.Problem(LeastSquares(), data._replace(features=np.ones((5, 2, 3))))


def test_67_a_trace_that_no_memory_holds_is_refused_with_its_size():
    with pytest.raises(CojaxInputError, match=r"GB for the trace of 2147483647 looks, .*: look less often"):
        cojax.solve(PROBLEM, NETWORK, METHOD, PROBLEM.start(), num_steps=2**31 - 1)


@pytest.mark.parametrize("error", [MemoryError(), JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8")])
def test_67_the_command_says_that_memory_ran_out(tmp_path, capsys, monkeypatch, error):
    def run_out(plan):
        raise error

    monkeypatch.setattr(cases, "build_case", run_out)
    (tmp_path / "plan.toml").write_text(PLAN)
    assert main(["plan", str(tmp_path / "plan.toml")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("cojax: the plan needs more memory than there is: use") and told.count("\n") == 1
