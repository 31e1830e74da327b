"""Plans: what they may say, what they are refused for, and the case that they become."""

import bz2
import gzip
import re
import textwrap
import unicodedata

import msgspec
import networkx as nx
import numpy as np
import pytest

from cojax import CojaxInputError, theory
from cojax.app.cases import cases, samples
from cojax.app.cases.centres import InfeasibleError
from cojax.app.help_texts import EXAMPLE
from cojax.app.plans import demo, plans, rosters
from cojax.app.results import hours
from cojax.data import datasets
from cojax.runs import pieces


def written(folder, text, name="plan.toml"):
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def refusal(path):
    with pytest.raises(CojaxInputError) as caught:
        cases.build_case(plans.read_plan(path))
    message = str(caught.value)
    assert "\n" not in message and message.endswith((".", "?"))
    return message


NODES = """
[nodes]
file = "nodes.csv"
[cpu]
budget = 45.0
[graph]
file = "links.csv"
"""
TABLE = "node,capacity,demand\nOslo,40,30\nBergen,25,10\nTromso,10,8\n"
LINKS = "source,target\nBergen,Oslo\nOslo,Tromso\n"


@pytest.fixture
def folder(tmp_path):
    written(tmp_path, TABLE, "nodes.csv")
    written(tmp_path, LINKS, "links.csv")
    written(tmp_path, NODES)
    return tmp_path


def test_the_example_in_the_help_is_a_plan(tmp_path):
    plan = plans.read_plan(written(tmp_path, EXAMPLE))
    assert plan.nodes.names == ["Oslo", "Bergen", "Tromso"]
    assert plan.link.quantizer == plans.Log(rho=0.5)


def test_the_keys_in_the_help_are_all_keys_there_are():
    from cojax.app.help_texts import PLAN

    for struct in (
        plans.Plan,
        plans.NodesTable,
        plans.Cpu,
        plans.GraphTable,
        plans.Data,
        plans.Svm,
        plans.LinkTable,
        plans.Learner,
        plans.Hours,
        plans.Units,
    ):
        assert [key for key in struct.__struct_fields__ if key not in PLAN] == []


def test_a_written_plan_reads_back_the_same_from_another_folder(folder, monkeypatch):
    plan = plans.read_plan(folder / "plan.toml")
    (folder / "results" / "july").mkdir(parents=True)
    plans.write_plan(folder / "results" / "july" / "plan.toml", plan)
    monkeypatch.chdir(folder / "results")
    again = plans.read_plan(folder / "results" / "july" / "plan.toml")
    assert again == plan
    assert plans.read_plan("july/plan.toml").nodes.file == "../nodes.csv"


def test_a_ready_plan_says_every_number_it_left_out_and_gives_the_same_case_again(tmp_path):
    case = cases.build_case(demo.demo_plan(steps=100, seed=3))
    plans.write_plan(tmp_path / "plan.toml", case.plan)
    again = cases.build_case(plans.read_plan(tmp_path / "plan.toml"))
    assert case.plan.method.allocate.step_size is not None and case.plan.method.learn.step_size is not None
    assert again.plan == case.plan
    np.testing.assert_array_equal(again.problem.data[0].features, case.problem.data[0].features)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("budget", "budgett", "unknown field `budgett` - at `$.cpu`; the keys there are budget, cost"),
        ("budget = 45.0", 'budget = "45"', "Expected `float`, got `str` - at `$.cpu.budget`"),
        ("budget = 45.0", "", "missing required field `budget` - at `$.cpu`"),
        ("budget = 45.0", "budget = 1e400", "finite numbers, got inf at $.cpu.budget"),
        ("budget = 45.0", "budget = nan", "finite numbers, got nan at $.cpu.budget"),
        ("budget = 45.0", f"budget = 1{'0' * 400}", "$.cpu.budget"),
        ("budget = 45.0", f"budget = 1{'0' * 5000}", "no TOML that can be read"),
        ("budget = 45.0", "budget = 45.0\nbudget = 46.0", "no TOML that can be read"),
        ("budget = 45.0", 'budget = 45.0\ncost = "free"', "`$.cpu.cost`; the choices are deviation, price, delay"),
        ("budget = 45.0", 'budget = 45.0\ncost = "price"', "but price needs price ("),
        ("[nodes]", 'title = "\\u001b[31m"\n[nodes]', "$.title holds a character that cannot be printed"),
        ("[nodes]", "steps = 0\n[nodes]", "`int` >= 1 - at `$.steps`"),
        ("[nodes]", "steps = true\n[nodes]", "Expected `int`, got `bool` - at `$.steps`"),
        ("[nodes]", "steps = 150\nevery = 100\n[nodes]", "$.steps = 150 needs to be a multiple of $.every = 100"),
        ("[nodes]", "tolerance = -1.0\n[nodes]", "- at `$.tolerance`"),
        ("[nodes]", ".".join("a" * 3000) + " = 1\n[nodes]", "nested too deeply"),
        ("[nodes]", "x = " + "[" * 4000 + "]" * 4000 + "\n[nodes]", "nested too deeply"),
        ("[graph]", "[graph]\nloss = 1.0", "`float` < 1.0 - at `$.graph.loss`"),
        ("[graph]", '[graph]\nname = "ring"', "$.graph needs either a name or a file"),
        ("[graph]", "[graph]\nweights = \"os.system('x')\"", "`$.graph.weights`; the choices are metropolis"),
        ("[graph]", '[link]\nname = "quantized"\n[graph]', "$.link is quantized, so it needs a quantizer"),
        ("[graph]", '[link]\nquantizer = {name = "log"}\n[graph]', "$.link is ideal"),
        ("[graph]", '[link]\nquantizer = {name = "lg"}\n[graph]', "the choices are log, uniform, float, adaptive"),
        ("[graph]", '[link]\nquantizer = {name = "log", rho = 0}\n[graph]', "> 0.0 - at `$.link.quantizer.rho`"),
        (
            "[graph]",
            '[link]\nquantizer = {name = "log", delta = 1}\n[graph]',
            "`$.link.quantizer`; the keys there are name",
        ),
        ("[graph]", '[model]\nname = "svm"\n[graph]', "$.data and $.model need each other"),
        ("[graph]", '[model]\nname = "net"\n[graph]', "the choices are svm, logistic, least_squares, softmax"),
        ("[graph]", "[method.learn]\nname = 'dgd'\nmixing = 0.5\n[graph]", "mixing goes with diging only"),
        ("nodes.csv", "missing.csv", "missing.csv is not a file"),
        ("nodes.csv", "links.csv", "needs a column"),
        ("links.csv", "links.gexf", "needs the suffix .graphml, .gml, .csv, .xml or .txt"),
    ],
)
def test_a_plan_with_a_mistake_is_refused_at_the_mistake(folder, old, new, said):
    assert old in NODES
    message = refusal(written(folder, NODES.replace(old, new, 1)))
    if said == "needs a column":  # both files are CSV, so it is their columns that tell them apart
        assert "source" in message
    else:
        assert said in message


def test_a_plan_that_is_no_text_or_too_large_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xff\xfe\x00x")
    assert "UTF-8" in refusal(path)
    monkeypatch.setattr(plans, "MAX_BYTES", 3)
    assert "more than max_bytes" in refusal(path)


def test_a_node_table_and_a_graph_over_other_nodes_are_refused_by_name(folder):
    written(folder, TABLE.replace("Tromso", "Bodo"), "nodes.csv")
    message = refusal(folder / "plan.toml")
    assert "only in the table 'Bodo'" in message and "only in the graph 'Tromso'" in message


KEYS = {
    "name = 'erdos_renyi'\nprobability = 2.0": "$.graph with the name 'erdos_renyi' needs probability <= 1, got 2",
    "name = 'erdos_renyi'\nprobability = 1e-9": "$.graph with the name 'erdos_renyi' drew 100 graphs and none is",
    "name = 'torus'": "$.graph with the name 'torus' needs nodes = rows * columns with at least 3 of both, got 3",
    "name = 'ring'\nlinks = 3": "$.graph with the name 'ring' takes no settings, got links",
    "name = 'moon'": "$.graph.name knows ring, path",
    "name = 'ring'\nswitching = 1000000": "$.graph.switching <= 66666 for a graph of 3 nodes and 3 links, got 1000000",
    "name = 'ring'\n[link]\nname = 'quantized'\nquantizer = {name = 'log', smallest = 2.0, largest = 1.0}": (
        "$.link.quantizer needs largest / smallest > 1, got 0.5"
    ),
    "name = 'ring'\n[penalty]\nname = 'softplus'\nweight = 1e300\nsharpness = 1.0": "got 1e+300 for $.penalty.weight",
    "name = 'ring'\n[data]\nname = 'breast_cancer'\nproportions = [1.0]\n[model]\nname = 'svm'": (
        "$.data.proportions needs 3 proportions > 0, one per node, got 1"
    ),
}


@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: keys.splitlines()[-1][:30])
def test_every_key_is_refused_under_its_own_name(folder, keys):
    message = refusal(written(folder, NODES.replace('file = "links.csv"', keys)))
    assert KEYS[keys] in message and "graphs.named" not in message


def test_names_that_look_alike_are_told_apart_in_the_refusal(folder):
    written(folder, TABLE.replace("Tromso", "tromso "), "nodes.csv")
    message = refusal(folder / "plan.toml")
    assert "('tromso' and 'Tromso' differ in capitals, width or blanks only)" in message


def test_names_in_two_unicode_forms_meet_wherever_names_meet(folder):
    one, other = (unicodedata.normalize(form, "Tromsö") for form in ("NFC", "NFD"))
    for table, links, prices in ((one, other, one), (other, one, other), (one, one, other)):
        written(folder, "node,curvature,upper\nOslo,1,40\nBergen,1,25\n" + table + ",1,10\n", "nodes.csv")
        written(folder, LINKS.replace("Tromso", links), "links.csv")
        written(folder, f"hour,Oslo,Bergen,{prices}\n0,1,2,3\n", "hours.csv")
        plan = NODES + '[hours]\nfile = "hours.csv"\n'
        found = hours.hourly(plans.read_plan(written(folder, plan)))
        assert found.names == ("Oslo", "Bergen", one) and found.prices.tolist() == [[1, 2, 3]]
        typed = plan.replace('file = "nodes.csv"', f'names = ["Oslo", "Bergen", "{table}"]\nprice = [1.0, 1.0, 1.0]\n')
        typed = typed.replace("[cpu]", "curvature = [1.0, 1.0, 1.0]\n[cpu]")
        assert cases.build_case(plans.read_plan(written(folder, typed))).names == found.names


def test_links_of_any_direction_are_taken_both_ways_and_arrows_are_said(folder):
    head = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="directed">'
    nodes = "".join(f'<node id="{name}"/>' for name in ("Oslo", "Bergen", "Tromso"))
    arrows = [("Bergen", "Oslo"), ("Oslo", "Tromso")]

    def noted(links, more=""):
        body = "".join(f'<edge source="{a}" target="{b}" {more}/>' for a, b in links)
        written(folder, f"{head}{nodes}{body}</graph></graphml>", "g.graphml")
        case = cases.build_case(plans.read_plan(written(folder, NODES.replace("links.csv", "g.graphml"))))
        assert sorted(map(sorted, case.wiring.pairs)) == [[0, 1], [0, 2]]
        return case.wiring.notes

    assert noted([*arrows, *(link[::-1] for link in arrows)]) == noted(arrows, 'directed="false"') == []
    [note] = noted(arrows)
    assert "taken both ways, as CPU moves along them, 2 in all: Oslo - Tromso, Bergen - Oslo" in note or (
        "2 in all: Bergen - Oslo, Oslo - Tromso." in note
    )


def test_every_format_of_graphs_makes_the_same_plan(folder):
    graph = nx.Graph([("Bergen", "Oslo"), ("Oslo", "Tromso")])
    nx.write_graphml(graph, folder / "g.graphml")
    nx.write_gml(graph, folder / "g.gml")
    written(folder, "# Nodes: 3 Edges: 2\nBergen Oslo\nOslo\tTromso\n", "g.txt")
    sndlib = (
        "?SNDlib native format; type: network; version: 1.0\nNODES ( Bergen ( 5 60 ) Oslo ( 10 59 ) Tromso ( 18 69 ) )"
    )
    written(folder, f"{sndlib}\nLINKS ( A ( Bergen Oslo ) 0 0 0 0 ( ) B ( Oslo Tromso ) 0 0 0 0 ( ) )\n", "s.txt")
    for name in ("links.csv", "g.graphml", "g.gml", "g.txt", "s.txt"):
        case = cases.build_case(plans.read_plan(written(folder, NODES.replace("links.csv", name))))
        assert sorted(map(sorted, case.wiring.pairs)) == [[0, 1], [0, 2]] and case.wiring.notes == []


def test_a_budget_that_no_shares_can_meet_says_what_is_missing(folder):
    for budget, missing in (("80.0", "5 more than all upper bounds"), ("-2.0", "2 less than all lower bounds")):
        written(folder, NODES.replace("45.0", budget))
        with pytest.raises(InfeasibleError, match=missing):
            cases.build_case(plans.read_plan(folder / "plan.toml"))


def test_lower_above_upper_names_the_node(folder):
    written(folder, "node,capacity,demand,lower\nOslo,40,30,1\nBergen,25,10,26\nTromso,10,8,0\n", "nodes.csv")
    assert "'Bergen' needs lower <= upper, got 26 > 25" in refusal(folder / "plan.toml")


def test_rows_follow_the_table_whatever_the_order_in_the_graph_file(folder):
    case = cases.build_case(plans.read_plan(folder / "plan.toml"))
    assert case.names == ("Oslo", "Bergen", "Tromso")
    assert sorted(map(sorted, case.wiring.pairs)) == [[0, 1], [0, 2]]
    np.testing.assert_array_equal(case.centres.upper, [40, 25, 10])


def test_a_real_network_gives_typed_columns_its_names_and_a_table_its_places(folder):
    plan = demo.demo_plan(steps=100, seed=0)
    names = tuple(plan.nodes.names or ())
    shuffled = msgspec.structs.replace(
        plan.nodes, names=list(reversed(names)), capacity=plan.nodes.capacity[::-1], demand=plan.nodes.demand[::-1]
    )
    case = cases.build_case(msgspec.structs.replace(plan, nodes=shuffled))
    assert case.names == names[::-1]
    assert case.wiring.positions is not None and set(case.wiring.positions) == set(names)
    place = case.names.index("Seattle")
    assert case.centres.columns["capacity"][place] == demo.CENTRES["Seattle"][0]


def test_the_computed_step_is_half_of_the_exact_limit_of_the_allocation(folder):
    case = cases.build_case(plans.read_plan(folder / "plan.toml"))
    # Independent: the dense Hessian form of the Laplacian-gradient method, with Metropolis weights typed in.
    laplacian = np.array([[2 / 3, -1 / 3, -1 / 3], [-1 / 3, 1 / 3, 0], [-1 / 3, 0, 1 / 3]])
    curvature = 1 / np.array([40.0, 25.0, 10.0]) + 2 * case.plan.penalty.weight
    limit = 2 / np.abs(np.linalg.eigvals(curvature[:, None] * laplacian)).max()
    # Both eigenvalues are found to rounding.
    np.testing.assert_allclose(case.plan.method.allocate.step_size, limit / 2, rtol=1e-12)


def test_the_computed_step_of_the_learner_keeps_half_of_the_limit_of_gradient_tracking():
    case = cases.build_case(demo.demo_plan(steps=100, seed=0))
    samples = case.problem.data[0]
    rows = np.concatenate([samples.features, -np.ones((*samples.targets.shape, 1))], axis=2)
    hessians = 10 / 4 * np.einsum("im,imd,ime->ide", samples.weights, rows, rows) + 0.1 * np.eye(31)
    smoothness = np.linalg.eigvalsh(hessians).max()
    most = max(np.linalg.eigvalsh(matrix.toarray()).max() for matrix in theory.laplacians(case.wiring.network))
    limit = (2 - 0.5 * most) ** 2 / (2 * smoothness)
    # The offset has no ridge, so the bound used is a little larger than the true curvature.
    np.testing.assert_allclose(case.plan.method.learn.step_size, limit / 2, rtol=1e-2)


def test_the_parts_that_take_turns_make_up_the_whole_network():
    case = cases.build_case(demo.demo_plan(steps=100, seed=0))
    union = nx.Graph()
    for matrix in theory.laplacians(case.wiring.network):
        union.add_edges_from(zip(*np.nonzero(np.triu(matrix.toarray(), 1)), strict=True))
    assert len(theory.laplacians(case.wiring.network)) == 4
    assert {frozenset(map(int, pair)) for pair in union.edges} == {frozenset(pair) for pair in case.wiring.pairs}


DATA = """
[data]
file = "samples.csv"
test_fraction = 0.5
[model]
name = "logistic"
"""


DIRICHLET = DATA.replace("[model]", 'split = "dirichlet"\nconcentration = 0.7\n[model]')


def with_samples(folder, targets, data=DATA):
    rows = [f"{row % 5},{row},{target}" for row, target in enumerate(targets)]
    written(folder, "\n".join(["a,b,target", *rows]) + "\n", "samples.csv")
    return written(folder, NODES + data)


def test_labels_become_what_the_model_wants_and_all_is_scaled_by_the_training_part(folder):
    case = cases.build_case(plans.read_plan(with_samples(folder, [0, 1] * 20)))
    assert case.dataset is not None
    assert set(case.dataset.targets) == {-1.0, 1.0} and len(case.dataset.test_targets) == 20
    # Two standardised columns and the ones of the offset; means are zero to rounding.
    np.testing.assert_allclose(case.dataset.features.mean(0), [0, 0, 1], atol=1e-14)
    assert case.start.params.shape == (3, 3)


def test_a_column_that_is_constant_to_rounding_is_learned_from_by_nobody(folder):
    """As scikit-learn's scaler finds it constant; divided by its rounding it would be a column of ones, or more."""
    values = np.array([[0.1, row * 1e200, row % 2] for row in range(40)])
    written(folder, "\n".join(["a,b,target", *(",".join(map(repr, row)) for row in values.tolist())]), "samples.csv")
    found = cases.build_case(plans.read_plan(written(folder, NODES + DATA))).dataset
    assert found is not None
    assert (found.features[:, 0] == 0).all() and (found.test_features[:, 0] == 0).all()
    np.testing.assert_allclose(found.features[:, 1].std(), 1.0, rtol=1e-12)  # its squares would be infinite


@pytest.mark.parametrize(
    ("targets", "data", "said"),
    [
        ([1] * 10, DATA, "needs 2 labels as targets, got 1 (1)"),
        ([0, 1, 2] * 6, DATA, "choose softmax for more than two classes"),
        ([0, 1], DATA.replace("0.5", "0"), "every node needs one sample"),
        (["x", 1], DATA, "samples.csv:2 needs a number for target"),
        ([0, 1] * 9, DATA.replace("file =", 'name = "breast_cancer"\nfile ='), "$.data needs either a name or a file"),
        ([0, 1] * 9, DATA.replace("samples.csv", "samples.pkl"), "could run code"),
        ([0, 1] * 9, DATA.replace("[model]", "proportions = [1, 2]\n[model]"), "needs 3 proportions"),
        ([0, 1] * 9, DATA.replace("[model]", "concentration = 1.0\n[model]"), "need each other: give both, or none"),
        ([0, 1] * 9, DATA.replace("[model]", 'split = "dirichlet"\n[model]'), "need each other: give both, or none"),
        ([0, 1] * 9, DIRICHLET.replace("[model]", "proportions = [1, 2, 3]\n[model]"), "takes no $.data.proportions"),
        ([0, 1] * 9, DIRICHLET.replace("0.7", "0.00001"), "that leave one empty: take fewer nodes"),
    ],
)
def test_samples_that_the_model_cannot_use_are_refused(folder, targets, data, said):
    assert said in refusal(with_samples(folder, targets, data))


def test_a_plan_deals_its_classes_by_a_dirichlet_law(folder):
    plan = plans.read_plan(with_samples(folder, [0, 1] * 40, DIRICHLET))
    assert (plan.data.split, plan.data.concentration) == ("dirichlet", 0.7)
    dataset = samples.prepare_dataset(plan)
    expected = datasets.split_dirichlet(dataset.features, dataset.targets, 3, seed=plan.seed, concentration=0.7)
    found = samples.split_over_nodes(plan, dataset, 3)
    np.testing.assert_array_equal(found.features, expected.features)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_a_narrower_libsvm_file_is_filled_up_with_the_zeros_it_is_silent_about(folder):
    written(folder, "1 1:2 3:4\n-1 2:1\n1 1:1\n", "train.libsvm")
    written(folder, "1 1:1\n-1 2:5\n", "test.libsvm")
    text = '[data]\nfile = "train.libsvm"\ntest_file = "test.libsvm"\nstandardize = false\n[model]\nname = "svm"\n'
    case = cases.build_case(plans.read_plan(written(folder, NODES + text)))
    assert case.dataset is not None
    np.testing.assert_array_equal(case.dataset.test_features, [[1, 0, 0], [0, 5, 0]])


def test_samples_are_read_from_zero_or_one_packed_or_without_a_suffix(folder):
    one = "+1 1:1 3:2 # first\n-1 2:1 3:1\n1 1:1 2:1\n-1 2:3\n+1 1:2\n-1 3:1\n"
    zero = re.sub(r"([0-9]):", lambda found: f"{int(found[1]) - 1}:", one)
    cells = [[1, 0, 2, 1], [0, 1, 1, -1], [1, 1, 0, 1], [0, 3, 0, -1], [2, 0, 0, 1], [0, 0, 1, -1]]
    table = "f1,f2,f3,Target\n" + "".join(",".join(map(str, row)) + "\n" for row in cells)
    files = {"a.libsvm": one.encode(), "z.libsvm": zero.encode(), "heart_scale": one.encode(), "z.t": zero.encode()}
    files |= {"a.bz2": bz2.compress(one.encode()), "t.csv": table.encode(), "t.csv.bz2": bz2.compress(table.encode())}
    files |= {"t.csv.gz": gzip.compress(table.encode()), "z.svm.gz": gzip.compress(zero.encode())}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for model in ("svm", "logistic", "softmax", "least_squares"):
        prepared = []
        for name in files:
            plan = NODES + f'[data]\nfile = "{name}"\nstandardize = false\n[model]\nname = "{model}"\n'
            prepared.append(samples.prepare_dataset(plans.read_plan(written(folder, plan))))
        for other in prepared[1:]:
            np.testing.assert_array_equal(other.features, prepared[0].features)
            np.testing.assert_array_equal(other.targets, prepared[0].targets)
        assert set(prepared[0].targets.tolist()) == ({0.0, 1.0} if model == "softmax" else {-1.0, 1.0})


def test_a_test_file_counts_features_as_the_training_file_does(folder):
    written(folder, "1 0:1 2:1\n-1 1:1\n", "train.libsvm")
    written(folder, "1 1:5\n-1 2:7\n", "test.libsvm")  # from 0 too, but without the first feature
    plan = (
        NODES + '[data]\nfile = "train.libsvm"\ntest_file = "test.libsvm"\nstandardize = false\n[model]\nname = "svm"\n'
    )
    found = samples.prepare_dataset(plans.read_plan(written(folder, plan)))
    np.testing.assert_array_equal(found.features, [[1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(found.test_features, [[0, 5, 0], [0, 0, 7]])


@pytest.mark.parametrize(
    ("columns", "extra", "said"),
    [
        ("node,work\nOslo,40\nBergen,25\nTromso,10\n", "", "needs its numbers given"),
        ("node,demand,capacity\nOslo,1,0\nBergen,1,50\nTromso,1,1\n", "", "'Oslo' needs capacity > 0"),
        (TABLE, '[penalty]\nname = "barrier"\nepsilon = 0.1\n', "needs its numbers given"),
        (TABLE, '[penalty]\nname = "power"\npower = 3\n', "$.penalty.weight cannot be computed"),
        (TABLE, '[method.allocate]\nname = "heavy_ball"\n[extra]', "unknown field `extra`"),
    ],
)
def test_numbers_that_cannot_be_computed_are_asked_for(folder, columns, extra, said):
    written(folder, columns, "nodes.csv")
    if said == "needs its numbers given" and "work" in columns:
        extra = '[penalty]\nname = "power"\nweight = 1.0\n'
    assert said in refusal(written(folder, NODES + extra))


def test_places_in_the_table_come_before_those_of_the_graph(folder):
    lines = (
        "node,capacity,demand,latitude,longitude\nOslo,40,30,59.9,10.8\nBergen,25,10,60.4,5.3\nTromso,10,8,69.6,19\n"
    )
    written(folder, lines, "nodes.csv")
    case = cases.build_case(plans.read_plan(folder / "plan.toml"))
    assert case.centres.positions == {"Oslo": (10.8, 59.9), "Bergen": (5.3, 60.4), "Tromso": (19, 69.6)}


@pytest.mark.parametrize("num_chunks", [1, 7, 200, 201, 400, 9973, 1_000_000_000])
def test_a_run_is_cut_into_equal_calls_and_never_too_many(num_chunks):
    at_once = pieces.equal_pieces(num_chunks)
    assert num_chunks % at_once == 0 and num_chunks // at_once <= pieces.MOST_CALLS


def test_a_price_is_multiplied_by_the_pue_of_its_building(folder):
    written(folder, "node,price,curvature,pue\nOslo,2,1,1.5\nBergen,1,1,1\nTromso,-1,1,2\n", "nodes.csv")
    case = cases.build_case(plans.read_plan(folder / "plan.toml"))
    np.testing.assert_array_equal(case.centres.columns["price"], [3, 1, -2])


def test_a_case_says_which_proof_its_computed_steps_rest_on(folder):
    case = cases.build_case(plans.read_plan(folder / "plan.toml"))
    limit = case.limits["allocate"]
    assert case.plan.method.allocate.step_size == limit.value / 2
    assert "tight by the descent lemma" in str(limit)
    assert "learn" not in case.limits  # there is no model


@pytest.mark.parametrize("name", rosters.ALLOCATORS)
def test_every_allocator_can_be_named_and_its_numbers_are_filled_in(folder, name):
    case = cases.build_case(plans.read_plan(written(folder, NODES + f'[method.allocate]\nname = "{name}"\n')))
    chosen, built = case.plan.method.allocate, case.method.allocate
    assert chosen.step_size == float(built.step_size) > 0
    plans.write_plan(folder / "again.toml", case.plan)
    again = cases.build_case(plans.read_plan(folder / "again.toml"))
    assert again.plan == case.plan and str(again.method) == str(case.method)


@pytest.mark.parametrize("name", rosters.LEARNERS)
def test_every_learner_can_be_named_and_its_numbers_are_filled_in(folder, name):
    data = DATA + f'[method.learn]\nname = "{name}"\n'
    case = cases.build_case(plans.read_plan(with_samples(folder, [0, 1] * 9, data)))
    assert type(case.method.learn) is rosters.LEARNERS[name]
    assert case.plan.method.learn.step_size == float(case.method.learn.step_size) > 0


def test_a_number_goes_with_its_methods_only(folder):
    text = NODES + '[method.allocate]\nname = "nesterov"\nlevel = 1.0\n'
    assert "$.method.allocate.level goes with saturated only" in refusal(written(folder, text))
    text = NODES + '[method.allocate]\nname = "nesterov"\nmomentum = 0.25\n'
    case = cases.build_case(plans.read_plan(written(folder, text)))
    assert case.method.allocate.momentum == 0.25
