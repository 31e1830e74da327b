"""Pictures show the numbers that they were given, on any axes, and leave matplotlib as they found it."""

import itertools
import sys
import warnings
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text

from cojax import graphs, plots
from cojax._support.checks import CojaxInputError
from cojax.plots import canvas, lettering
from cojax.runs.records import Trace

SHARES = np.array([1.0, 2.0, 4.0])
EDGES = [(0, 1), (1, 2)]


def trace(**fields):
    steps = np.arange(1, 21) * 10
    falling = np.exp(-steps / 40.0)
    standard = {
        "cost": 2 + falling,
        "mean_cost": 2 + falling,
        "imbalance": 0 * falling,
        "overload": falling,
        "disagreement": falling,
    }
    standard |= {"gradient": falling, "bits": 64.0 * steps, "saturated": 0 * steps}
    return Trace(**{"step": steps, **standard, **fields})


PICTURES = {
    "network": lambda ax: plots.network(EDGES, SHARES, upper=SHARES + 1, names=["a", "b", "c"], ax=ax),
    "convergence": lambda ax: plots.convergence(trace(), 2.0, ax=ax),
    "shares": lambda ax: plots.shares(SHARES, SHARES - 1, SHARES + 1, optimum=SHARES, names=["a", "b", "c"], ax=ax),
    "prices": lambda ax: plots.prices(SHARES, 2.0, optimum=SHARES, names=["a", "b", "c"], ax=ax),
    "flows": lambda ax: plots.network(EDGES, SHARES, flows=[2.0, -1.0], ax=ax),
    "gap": lambda ax: plots.gap(trace(), 2.0, floor=1e-3, bound=3 * np.exp(-trace().step / 40.0), ax=ax),
    "meeting": lambda ax: plots.meeting(np.outer(np.arange(1, 5), SHARES), 2.0, ax=ax),
    "consensus": lambda ax: plots.consensus({"w": np.arange(24.0).reshape(4, 3, 2)}, steps=[1, 10, 20, 30], ax=ax),
    "scaling": lambda ax: plots.scaling(np.array([10, 100, 1000]), {"cojax": SHARES, "loop": 2 * SHARES}, ax=ax),
}


def settings():
    # Looking the backend up chooses one.
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


def curve(ax, start):
    return next(line for line in ax.lines if line.get_label().startswith(start))


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_on_the_axes_it_is_given(name):
    ax = Figure(layout="constrained").add_subplot()
    assert PICTURES[name](ax) is ax
    assert ax.has_data()


@pytest.mark.parametrize("name", PICTURES)
def test_a_new_picture_fits_a_column_and_leaves_no_trace_in_matplotlib(name):
    with matplotlib.rc_context({"font.size": 5.25, "axes.linewidth": 5.25, "text.color": "red"}):
        before = settings()
        ax = PICTURES[name](None)
        ax.figure.canvas.draw()
        assert settings() == before
    assert ax.figure.get_figwidth() == 3.5
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


@pytest.mark.parametrize("name", PICTURES)
def test_every_axis_that_is_shown_is_labelled(name):
    ax = PICTURES[name](None)
    assert ax.get_xlabel() or not ax.axison
    assert ax.get_ylabel() or not ax.axison or [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]


def test_the_area_of_a_node_grows_with_its_share():
    (discs,) = plots.network(EDGES, SHARES).collections
    areas = discs.get_sizes()
    np.testing.assert_allclose(np.diff(areas) / np.diff(SHARES), np.diff(areas)[0], rtol=1e-12)  # two roundings


def test_every_link_is_drawn_between_its_nodes():
    places = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    lines = plots.network(EDGES, SHARES, positions=places).lines
    drawn = [line.get_xydata() for line in lines]
    np.testing.assert_array_equal(drawn, [places[[0, 1]], places[[1, 2]]])


def test_an_arrow_leads_from_who_gives_to_who_takes_and_is_as_wide_as_what_it_carries():
    places = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    ax = plots.network(EDGES, SHARES, flows=[4.0, -1.0], positions=places)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    found = []
    for arrow in arrows:  # from rim to rim, so that the nearest node tells
        line = np.asarray(arrow.get_path().vertices)[:-1]  # the last closes the head and is nowhere
        tip = line[np.linalg.norm(line - line[0], axis=1).argmax()]
        found.append([np.linalg.norm(places - end, axis=1).argmin() for end in (line[0], tip)])
    assert found == [[0, 1], [2, 1]]
    assert arrows[0].get_linewidth() > arrows[1].get_linewidth()
    assert legend(ax) == ["CPU on its way, at most 4 a link"]


def test_where_nothing_moves_no_arrow_is_drawn():
    ax = plots.network(EDGES, SHARES, flows=[0.0, np.nan])
    assert not ax.patches and legend(ax) == ["nothing moves"]


def test_the_names_of_a_real_network_cover_neither_each_other_nor_a_node():
    graph = graphs.nsfnet()
    names = list(graph)
    rows = {name: row for row, name in enumerate(names)}
    places = np.array([[place["longitude"], place["latitude"]] for place in graph.nodes.values()])
    cpu = np.linspace(2.0, 10.0, len(names))
    ax = plots.network([(rows[a], rows[b]) for a, b in graph.edges], cpu, upper=cpu + 1, names=names, positions=places)
    ax.figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # an annotation's own would add its hair
    centres = ax.transData.transform(places)
    assert len(boxes) == len(names)
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert not any(box.contains(*centre) for centre in centres)


def test_names_without_room_are_left_out_not_written_over_each_other():
    rows = np.arange(12)
    places = np.stack([rows % 2 * 1.0, rows // 2 * 1e-3], axis=1)
    ax = plots.network([(0, 11)], np.ones(12), names=["a name of twenty let"] * 12, positions=places)
    ax.figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert 2 <= len(boxes) < 12
    for place, box in enumerate(boxes):
        assert not any(box.shrunk(0.9, 0.7).overlaps(other) for other in boxes[place + 1 :])


def test_a_name_is_never_read_as_a_formula():
    names = ["$\\frac{", "a\nb", "x" * 50]
    for ax in (plots.network(EDGES, SHARES, names=names), plots.prices(SHARES, 2.0, names=names)):
        ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["$\\frac{", "a b", "x" * 19 + "…"]


def test_the_gap_is_relative_to_the_optimum():
    run = trace()
    line = curve(plots.convergence(run, 2.0), "cost above")
    np.testing.assert_array_equal(line.get_ydata(), (run.cost - 2.0) / 2.0)


def test_a_run_can_be_drawn_over_the_bits_that_it_told():
    run = trace()
    ax = plots.convergence(run, 2.0, over="bits")
    np.testing.assert_array_equal(curve(ax, "cost above").get_xdata(), run.bits)
    assert "bits" in ax.get_xlabel()


@pytest.mark.parametrize(("steps", "label"), [(20_000, "steps"), (3_000_000, "steps (millions)")])
def test_the_numbers_of_steps_do_not_touch_each_other(steps, label):
    ax = plots.gap(trace(step=np.linspace(steps / 20, steps, 20)), 2.0)
    ax.figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in ax.get_xticklabels()), key=lambda box: box.x0)
    assert all(left.x1 + 3 < right.x0 for left, right in itertools.pairwise(boxes))  # three pixels: seen as a space
    assert ax.get_xlabel() == label
    texts = [text.get_text() for text in ax.get_xticklabels()]
    assert ("20\u202f000" in texts) if steps < 1e6 else ("3" in texts)


def test_the_gap_is_drawn_with_its_floor_and_its_bound():
    run, bound = trace(), np.linspace(2.0, 1.0, 20)
    ax = plots.gap(run, 2.0, over="bits", floor=1e-3, bound=bound)
    np.testing.assert_array_equal(curve(ax, "cost above").get_xydata(), np.stack([run.bits, run.cost - 2.0], axis=1))
    np.testing.assert_array_equal(curve(ax, "proved").get_ydata(), bound)
    assert set(curve(ax, "may stop").get_ydata()) == {1e-3}


def test_the_distance_from_the_mean_model_is_the_largest_entry_over_all_leaves():
    rng = np.random.default_rng(0)
    params = {"a": rng.normal(size=(5, 4, 3)), "b": rng.normal(size=(5, 4))}
    drawn = np.stack([line.get_ydata() for line in plots.consensus(params).lines], axis=1)
    for look, node in np.ndindex(5, 4):
        entries = [abs(leaf[look, node] - sum(leaf[look]) / 4) for leaf in params.values()]
        assert drawn[look, node] == pytest.approx(max(np.max(entry) for entry in entries), rel=1e-14)  # two roundings


def test_of_many_nodes_the_range_and_the_middle_are_drawn():
    ax = plots.meeting(np.outer(np.ones(3), np.arange(100.0)), 2.0)
    assert [line.get_label() for line in ax.lines] == ["median marginal cost", "price 2"]
    assert set(ax.lines[0].get_ydata()) == {49.5}


def test_a_cost_below_the_optimum_is_drawn_apart():
    cost = np.linspace(3.0, 1.0, 20)
    ax = plots.convergence(trace(cost=cost), 2.0)
    above, below = curve(ax, "cost above").get_ydata(), curve(ax, "cost below").get_ydata()
    np.testing.assert_array_equal(np.isfinite(above), cost > 2)
    np.testing.assert_array_equal(np.isfinite(below), cost < 2)
    np.testing.assert_array_equal(np.nansum([above, below], axis=0), np.abs(cost - 2) / 2)


def test_a_total_that_is_never_off_is_said_in_words():
    assert "total off budget (CPU units): 0 at every step" in legend(plots.convergence(trace(), 2.0))
    off = trace(imbalance=np.full(20, 1e-9))
    assert "total off budget (CPU units)" in legend(plots.convergence(off, 2.0))


def test_a_share_beyond_its_bounds_gets_a_diamond_and_others_do_not():
    ax = plots.shares(SHARES, np.zeros(3), np.array([2.0, 1.9, 4.001]))
    np.testing.assert_array_equal(curve(ax, "beyond").get_xydata(), [[2.0, 1]])
    np.testing.assert_array_equal(curve(ax, "share").get_xydata(), [[1.0, 0], [4.0, 2]])


def test_an_infinite_bound_is_drawn_to_the_edge_of_what_is_seen():
    (bars,) = plots.shares(SHARES, np.full(3, -np.inf), np.full(3, np.inf)).collections
    for segment in bars.get_segments():
        np.testing.assert_array_equal(segment[:, 0], [1.0, 4.0])


def test_nodes_at_bounds_are_told_from_those_between():
    low, high = np.array([True, False, False]), np.array([False, False, True])
    ax = plots.prices(SHARES, 2.0, at_lower=low, at_upper=high)
    assert [curve(ax, start).get_xdata()[0] for start in ("at its lower", "between", "at its upper")] == [1, 2, 4]
    assert curve(ax, "price").get_xdata()[0] == 2.0


def test_the_guide_of_a_scaling_picture_is_proportional_to_n():
    line = curve(plots.scaling(np.array([10, 100, 1000]), {"cojax": SHARES}), "proportional")
    np.testing.assert_allclose(line.get_ydata() / line.get_xdata(), 4.0 / 1000, rtol=1e-12)  # two roundings


def test_numbers_that_are_not_finite_are_left_out():
    broken = np.array([1.0, np.nan, np.inf])
    plots.network(EDGES, broken, upper=SHARES, names=["a", "b", "c"]).figure.canvas.draw()
    plots.prices(broken, np.nan).figure.canvas.draw()
    ax = plots.convergence(trace(cost=np.full(20, np.nan), disagreement=np.full(20, np.inf)), 2.0)
    ax.figure.canvas.draw()
    assert not np.isfinite(curve(ax, "cost above").get_ydata()).any()


@pytest.mark.parametrize("size", [1, 2, 61, 600])
def test_pictures_of_any_size_are_drawn(size):
    cpu = np.arange(1.0, size + 1)
    ring = [(node, node + 1) for node in range(size - 1)]
    names = [str(node) for node in range(size)]
    assert len(plots.network(ring, cpu, names=names).texts) == {1: 1, 2: 2, 61: 12, 600: 0}[size]
    ticks = plots.shares(cpu, 0 * cpu, 2 * cpu, names=names).get_yticklabels()
    assert len(ticks) == (size if size <= 60 else 0)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.network([(0, 3)], SHARES), "needs edges between rows 0 to 2, got 0 to 3"),
        (lambda: plots.network([(-1, 0)], SHARES), "needs edges between rows 0 to 2, got -1 to 0"),
        (lambda: plots.network(EDGES, SHARES, names=["a"]), "needs 3 names, one per node, got 1"),
        (lambda: plots.network(EDGES, SHARES, positions=np.full((3, 2), np.nan)), "needs finite positions"),
        (lambda: plots.shares(SHARES, SHARES, SHARES, optimum=np.ones(2)), r"shape \(3,\) for optimum, got shape \(2,"),
        (lambda: plots.prices(SHARES, 1.0, at_lower=np.ones(2, bool)), r"shape \(3,\) for at_lower, got shape \(2,"),
        (lambda: plots.scaling(np.array([1, 2]), {"loop": SHARES}), r"shape \(2,\) for loop, got shape \(3,"),
        (lambda: plots.network(EDGES, SHARES, flows=[1.0]), r"shape \(2,\) for flows, got shape \(1,"),
        (lambda: plots.gap(trace(), 2.0, bound=[1.0]), r"shape \(20,\) for bound, got shape \(1,"),
        (lambda: plots.meeting(SHARES, 1.0), r"one row of all nodes per look for marginals, got shape \(3,\)"),
        (lambda: plots.consensus({"a": np.ones((2, 3)), "b": np.ones((2, 4))}), r"needs params \(c, n, ...\), got"),
        (lambda: plots.convergence(trace(step=np.ones((2, 3)))), "one number per row for trace.step"),
        (lambda: plots.convergence(trace(cost=np.ones(3)), 1.0), r"shape \(20,\) for trace.cost, got shape \(3,"),
    ],
)
def test_what_does_not_fit_is_refused(draw, message):
    with pytest.raises(CojaxInputError, match=message):
        draw()


def test_a_missing_matplotlib_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CojaxInputError, match=r"pip install 'cojax\[plots\]'"):
        plots.convergence(trace())


# Linear RGB as people without one kind of cone see it: Vienot, Brettel, Mollon, Color Res. Appl. 24(4), 1999.
BLINDNESS = {
    "none": np.eye(3),
    "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize(
    "together",
    [(canvas.BLUE, canvas.VERMILION, canvas.ORANGE, canvas.GREEN), (canvas.BLUE, canvas.INK, canvas.FAINT)],
)
def test_colours_of_one_picture_differ_for_every_kind_of_colour_vision(kind, together):
    from matplotlib.colors import to_rgb

    linear = np.array([to_rgb(colour) for colour in together]) ** 2.2
    seen = np.clip(linear @ BLINDNESS[kind].T, 0, 1) ** (1 / 2.2)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)[np.triu_indices(len(together), 1)]
    assert apart.min() > 0.1  # a tenth of the axis from black to red: clearly seen side by side


SCRIPTS = ["東京", "大阪", "ᚠᚢ", "नमस्ते", "🏭", "Oslo", "Zürich", "Москва"]


def drawn_names(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


def test_names_that_no_font_has_are_numbered_without_a_warning(monkeypatch):
    monkeypatch.setattr(lettering, "OTHERS", ())
    lettering._families.cache_clear()
    sizes = np.arange(8.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bars = plots.shares(sizes, sizes - 1, sizes + 1, names=SCRIPTS)
        nodes = plots.network([(k, k + 1) for k in range(7)], sizes, names=SCRIPTS)
        for ax in (bars, nodes):
            ax.figure.canvas.draw()
    names = drawn_names(bars)
    assert len(set(names)) == 8 and names[:2] == ["node 1", "node 2"] and names[5:] == ["Oslo", "Zürich", "Москва"]
    assert "node 2 1" in {text.get_text() for text in nodes.texts}
    assert "numbers" not in str(lettering.renaming_note(["Oslo"])) and lettering.renaming_note(["Oslo"]) is None
    assert "all letters of 2 names" in lettering.renaming_note(["Oslo", *SCRIPTS[:2]])
    assert "node 2 is 東京" in lettering.renaming_note(["Oslo", *SCRIPTS[:2]])
    lettering._families.cache_clear()


def test_a_font_that_is_installed_draws_what_ours_lacks(monkeypatch):
    monkeypatch.setattr(lettering, "OTHERS", ("STIX",))  # which comes with matplotlib, as letters of no plain name do
    lettering._families.cache_clear()
    letter = min(
        lettering._letters(lettering._path("STIXGeneral")) - lettering._letters(lettering._path("DejaVu Sans"))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = plots.shares(SHARES, SHARES - 1, SHARES + 1, names=["a", letter, "🏭"])
        ax.figure.canvas.draw()
    assert drawn_names(ax) == ["a", letter, "node 3"]
    assert all(text.get_fontfamily()[1].startswith("STIX") for text in ax.get_yticklabels())
    lettering._families.cache_clear()


def test_long_names_that_begin_alike_are_told_apart():
    names = ["data centre of the north, hall 1", "data centre of the north, hall 2", "Oslo"]
    assert drawn_names(plots.shares(SHARES, SHARES - 1, SHARES + 1, names=names)) == ["node 1", "node 2", "Oslo"]


def test_looks_at_or_below_zero_are_counted_and_pdfs_have_truetype_fonts(tmp_path):
    ax = plots.gap(trace(), 2.0 + np.exp(-2.5))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "at or below 0: 11 of 20 looks" in texts
    ax.figure.savefig(tmp_path / "gap.pdf")
    content = (tmp_path / "gap.pdf").read_bytes()
    assert b"/FontFile2" in content or b"/CIDFontType2" in content
    assert b"/Type3" not in content


def test_shares_are_stacked_by_day_with_the_small_ones_as_one():
    shares = np.tile(np.arange(1.0, 11.0), (24 * 4, 1))
    ax = plots.stacked(shares, dates=np.datetime64("2024-01-01T00") + np.arange(96))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[:2] == ["node 10", "node 9"] and texts[-1] == "3 others" and len(texts) == 8
    top = ax.collections[-1].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(55.0)
    with pytest.raises(CojaxInputError, match=r"shares \(h, n\) >= 0"):
        plots.stacked(-shares)


class Raced(NamedTuple):
    step: np.ndarray
    bits: np.ndarray
    learn_gap: np.ndarray
    share_gap: np.ndarray
    seconds_per_step: float
    seconds: np.ndarray | None = None


def test_an_hour_in_which_no_unit_fits_has_no_price_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = plots.price_series([1.0, np.inf, 3.0], [[1.0, 2.0]] * 3)
    (line, _) = ax.get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [1.0, np.nan, 3.0])


def test_courses_of_many_seeds_are_a_median_in_a_band():
    steps = np.arange(0.0, 50.0, 10.0)
    gaps = np.exp(-np.array([[1.0], [3.0], [2.0]]) * steps / 10)
    ax = plots.contest({"a": Raced(steps, 64 * np.tile(steps, (3, 1)), gaps, gaps, 1e-3)}, "share", over="bits")
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 0.064 * steps)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.exp(-2 * steps / 10))
    corners = ax.collections[0].get_paths()[0].vertices
    at = np.isclose(corners[:, 0], 0.064 * 20)
    assert [corners[at, 1].min(), corners[at, 1].max()] == pytest.approx([np.exp(-6.0), np.exp(-2.0)])


def test_courses_are_drawn_as_they_are_over_steps_bits_or_seconds():
    steps = np.arange(0.0, 50.0, 10.0)
    courses = {
        name: Raced(steps, bits * steps, np.exp(-steps), np.exp(-2 * steps), 1e-3)
        for name, bits in (("a", 64), ("b", 2))
    }
    drawn = {over: plots.contest(courses, "share", over=over) for over in ("steps", "bits", "seconds")}
    for over, scale in (("steps", 1.0), ("bits", 64e-3), ("seconds", 1e-3)):
        line = drawn[over].lines[0]
        np.testing.assert_allclose(line.get_xdata(), scale * steps)
        np.testing.assert_allclose(line.get_ydata(), np.clip(np.exp(-2 * steps), 1e-16, None))
    assert drawn["bits"].get_xscale() == "log" and drawn["steps"].get_xscale() == "linear"
    assert drawn["bits"].get_xlim() == pytest.approx((0.02, 2.56))
    for wrong in ({"half": "shares"}, {"half": "share", "over": "hours"}):
        with pytest.raises(CojaxInputError, match=r"plots.contest needs half"):
            plots.contest(courses, **wrong)
    with pytest.raises(CojaxInputError, match=r"needs courses of cojax.compare, got ndarray of a"):
        plots.contest({"a": steps}, "share")
