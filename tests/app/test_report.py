"""A report stands alone, says no more than its numbers do, and lets nothing that it was given out of its quotes."""

import dataclasses
import struct
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from cojax._support.checks import CojaxInputError
from cojax.app.reports import meanings, pages, report, words
from cojax.app.reports.report import write_report
from cojax.app.results.outcome import Learned, Outcome
from cojax.app.results.worth import ShareWorth
from cojax.plots import lettering, numerals
from cojax.runs.records import Trace
from cojax.runs.status import Status

VOID = {"meta", "link", "img", "br"}
HOSTILE = ("<script>alert(1)</script>", "$\\frac{", '"><img src=x onerror=alert(1)>', "Köln & Bonn")


def outcome(**changes):
    """Four nodes on a ring, the first at its upper bound and 0.01 beyond it."""
    lower, upper = np.full(4, 0.5), np.array([2.0, 4.0, 4.0, 4.0])
    demand = np.array([3.0, 2.0, 2.5, 3.0])
    exact = np.array([2.0, 1.5, 2.0, 2.5])
    cpu = exact + np.array([0.01, 0.0, -0.01, 0.0])
    steps = np.arange(1, 11) * 100
    falling = np.exp(-steps / 200.0)
    numbers = {"balance": 0.0, "box": 0.01, "stationarity": 0.02, "gap": 0.003, "consensus": 1e-6, "gradient": 2e-7}
    numbers |= {"model_gap": 1e-12}
    fields = {
        "title": "Four nodes",
        "names": ("Bonn", "Paris", "Rome", "Oslo"),
        "columns": {"demand": demand, "lower": lower},
        "lower": lower,
        "upper": upper,
        "budget": 8.0,
        "cpu": cpu,
        "marginal": cpu - demand,
        "exact_cpu": exact,
        "exact_marginal": exact - demand,
        "price": -0.5,
        "worth": ShareWorth(
            -0.5,
            -0.5,
            np.array([0.0, 0.25, 0.25, 0.5]),
            np.array([0.5, 0.0, 0.0, 0.0]),
            np.zeros(4),
            {"demand": demand - exact},
            np.zeros(4, bool),
        ),
        "learned": Learned(
            "svm",
            "accuracy",
            np.ones((4, 3)),
            np.array([9, 7, 5, 0]),
            np.array([0.9, 1, 0.8, np.nan]),
            30,
            0.961,
            0.961,
        ),
        "positions": {"Bonn": (7.1, 50.7), "Paris": (2.4, 48.9), "Rome": (12.5, 41.9), "Oslo": (10.8, 59.9)},
        "edges": ((0, 1), (1, 2), (2, 3), (0, 3)),
        "num_graphs": 2,
        "trace": Trace(
            steps, 1 + falling, 1 + falling, 0 * falling, falling, falling, falling, 640.0 * steps, 0 * steps
        ),
        "cost": 0.99,
        "exact_cost": 1.0001,
        "reference_cost": 1.0,
        "certificate": numbers,
        "run_certificate": numbers | {"box": 0.0},
        "exact_certificate": numbers | {"box": 0.0, "stationarity": 1e-15, "gap": 1e-15},
        "tolerance": 1e-3,
        "certified": True,
        "status": "CONVERGED",
        "settings": {"link": "ideal()", "steps": 1000, "versions": {"jax": "0.10.2"}},
        "seconds": {"compile": 2.0, "run": 1.0, "total": 3.5},
    }
    return Outcome(**{**fields, **changes})


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text; wrongly nested tags fail."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text, self.titles = [], [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if self.open[-1:] not in (["style"], ["title"]) else ""
        self.titles += [data] if self.open[-1:] == ["title"] else []

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "plan.toml").write_text('title = "</pre><script>x</script>"\n')
    positions = dict(zip(HOSTILE, outcome().positions.values(), strict=True))
    path = write_report(folder, outcome(names=HOSTILE, positions=positions, title="<b>Title</b>"))
    assert path == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_a_report_asks_for_nothing_from_anywhere(html, page):
    sources = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "srcset")]
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert html.count("url(") == html.count("url(#") and "@import" not in html
    policy = next(attrs["content"] for attrs in page.of("meta") if "http-equiv" in attrs)
    assert "default-src 'none'" in policy


def test_a_report_runs_no_script(page):
    assert page.of("script") == []
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_every_picture_says_in_words_what_it_shows(page):
    pictures = page.of("svg")
    assert len(pictures) == 4
    assert all(len(picture["aria-label"]) > 40 for picture in pictures)


def test_who_points_at_a_mark_is_told_what_it_is(folder, page):
    titles = page.titles
    for name, share in zip(HOSTILE, ("2", "1.5", "2", "2.5"), strict=True):
        shown = lettering.node_labels(HOSTILE)[HOSTILE.index(name)]
        assert f"{shown}: {share}" in titles  # the network: exact shares
        assert sum(title.startswith(f"{shown}: ") for title in titles) == 3  # and shares and prices
    assert "total off budget" not in " ".join(titles)  # zero has no place on the axis, and says so in the legend
    lead = f"{lettering.node_labels(HOSTILE)[0]}: 2.01, bounds 0.5 to 2 (beyond a soft bound)"
    assert lead in titles


def test_pictures_of_one_page_share_no_identifier(page):
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(names) == len(set(names)) > 100
    links = [attrs["href"] for tag, attrs in page.tags if tag == "use"]
    assert links and {link.removeprefix("#") for link in links} <= set(names)


def test_a_drawing_of_very_many_lines_is_shown_as_pixels(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "MOST_SVG", 1000)
    page = Page(write_report(tmp_path, outcome()).read_text(encoding="utf-8"))
    assert page.of("svg") == [] and len(page.of("img")) == 4
    assert all(picture["src"].startswith("data:image/png") and len(picture["alt"]) > 40 for picture in page.of("img"))


def test_names_titles_and_plans_are_shown_and_never_obeyed(page):
    for text in (*HOSTILE, "<b>Title</b>", "</pre><script>x</script>"):
        assert text in page.text


def test_pictures_are_also_files_of_a_paper_columns_width(folder):
    for name in ("network", "convergence", "shares", "prices"):
        head = (folder / f"{name}.png").read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", head[16:20]) == (1050,)  # 3.5 inches at 300 dots


def test_what_ran_is_in_the_report(page):
    for text in ("versions.jax", "0.10.2", "ideal()", "cojax plan plan.toml"):
        assert text in page.text


def test_every_number_of_the_certificate_is_explained(page):
    for name, what, meaning in meanings.MEANINGS.values():
        if name not in ("Price", "Largest of all"):
            assert name in page.text and what in page.text and meaning in page.text


@pytest.mark.parametrize("status", [status.name for status in Status])
def test_every_way_to_end_is_said_in_words(status):
    said = dict(words.answers(outcome(status=status, certified=False)))["Is it proved? No"]
    assert said.endswith(f"{words.ENDS[status]} ({status}).")


def test_the_first_screen_says_what_was_decided_what_it_costs_and_whether_that_is_proved(page):
    (_, decided), (_, costs), (proved, why) = words.answers(outcome())
    assert decided.startswith("Who gets how much of 8 CPU units. Oslo gets the most, 2.5, Paris the least, 1.5.")
    assert decided.endswith("Of 4 shares, 1 is at the upper bound and 0 at the lower one.")
    assert costs.startswith("1.0001 in the unit of the cost figures, the shares and the loss of the model together.")
    assert proved == "Is it proved? Yes" and "cheaper by more than 1 \u00d7 10⁻¹⁵" in why
    assert all(text in page.text for text in ("What was decided", "What it costs", why))


def test_the_cost_to_remember_is_that_of_the_shares_to_use_beside_the_least_possible():
    def tile(**changes):
        return next(tile for tile in words.key_numbers(outcome(**changes)) if tile.label == "Cost")

    assert tile().value == "1.0001" and tile().note.endswith("0.01\u00a0% above the least possible within the bounds")
    assert tile(exact_cost=1.0).note == "of the shares to use: the least possible within the bounds"


def test_the_map_shows_the_shares_to_use(monkeypatch):
    drawn, draw = [], report.plots.network
    monkeypatch.setattr(report.plots, "network", lambda edges, cpu, **rest: drawn.append(cpu) or draw(edges, cpu))
    report._pictures(outcome())
    np.testing.assert_array_equal(drawn[0], outcome().exact_cpu)


def test_a_node_that_pictures_number_has_its_number_in_the_tables(monkeypatch):
    monkeypatch.setattr(lettering, "OTHERS", ())
    lettering._families.cache_clear()
    assert report._label_names(("Oslo", "東京", "node 3")) == ["Oslo", "東京 (node 2)", "node 3"]
    lettering._families.cache_clear()


def test_the_bound_of_the_cost_and_the_tolerance_of_all_checks_have_names_of_their_own():
    judged = outcome().exact_certificate | {"gap": 3e-9, "worst": 2e-5}
    why = words.answers(outcome(exact_certificate=judged))[2][1]
    assert "Cost gap: for convex costs no other shares within the bounds are cheaper by more than 3 \u00d7 10⁻⁹" in why
    assert "Largest relative error of all checks: 2 \u00d7 10⁻⁵, of the 0.001 allowed" in why


def test_what_soft_bounds_did_is_said_also_where_they_did_nothing():
    assert "1 of 4 shares ended beyond a bound, by 0.01 CPU units at most" in words.soft(outcome())
    assert "no share passed a bound" in words.soft(outcome(cpu=outcome().exact_cpu))
    assert "diverged" in words.soft(outcome(cpu=np.full(4, np.nan)))


def test_the_same_outcome_gives_the_same_file(tmp_path):
    pages = [write_report(tmp_path / name, outcome(learned=None)).read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1]


def test_a_run_that_diverged_is_reported_as_such(tmp_path):
    nan = np.full(4, np.nan)
    bad = outcome(cpu=nan, marginal=nan, cost=np.nan, certified=False, status="NOT_FINITE", positions=None)
    text = Page(write_report(tmp_path, bad).read_text(encoding="utf-8")).text
    assert "The run diverged" in text and "Not certified" in text
    assert "diverged until numbers overflowed" in text and "right, to the last bit" not in text


def test_a_large_table_is_cut_and_says_where_the_rest_is(tmp_path):
    size = 300
    ones = np.ones(size)
    many = outcome(
        names=tuple(f"node {row}" for row in range(size)),
        columns={},
        learned=None,
        positions=None,
        edges=tuple((row, row + 1) for row in range(size - 1)),
        **{name: ones for name in ("cpu", "marginal", "exact_cpu", "exact_marginal")},
        lower=0 * ones,
        upper=np.inf * ones,
        worth=ShareWorth(1.0, 1.0, ones, 0 * ones, 0 * ones, {}, ones > 0),
    )
    page = Page(write_report(tmp_path, many).read_text(encoding="utf-8"))
    assert "node 199" in page.text and "node 200" not in page.text
    assert "The first 200 of 300 nodes" in page.text


def test_the_total_is_called_right_only_if_it_was():
    right, trace = outcome(), outcome().trace
    assert "at every one of 1\u202f000 steps the total was right, to the last bit" in " ".join(words.lead(right))
    off = outcome(trace=trace._replace(imbalance=np.full(10, 1e-9)))
    assert "the total was off by up to 1 \u00d7 10⁻⁹" in " ".join(words.lead(off))
    assert "last bit" not in " ".join(words.lead(off))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_score": 0.961}, "96.1\u00a0% accuracy on 30 held-out samples, the same as training with all data"),
        (
            {"test_score": 0.912},
            "91.2\u00a0% accuracy on 30 held-out samples, where training with all data in one place",
        ),
        ({"central_test_score": None}, "it reaches 96.1\u00a0% accuracy on 30 held-out samples."),
        ({"test_score": None}, "on 21 samples without moving them."),
        ({"score": "rms error", "test_score": 2.5, "central_test_score": 2.0}, "an rms error of 2.5 on 30"),
    ],
)
def test_the_model_is_held_against_the_centralised_one(changes, said):
    learned = dataclasses.replace(outcome().learned, **changes)
    assert said in words.lead(outcome(learned=learned))[0]


def test_a_cost_below_the_optimum_is_said_with_its_reason():
    text = " ".join(words.lead(outcome()))
    assert (
        "cost 0.99, 1\u00a0% below the optimum of 1. Nothing within the bounds is that cheap: bounds are soft" in text
    )
    assert "a share ended 0.01 CPU units beyond one" in text
    inside = outcome(cpu=outcome().exact_cpu, cost=1.01)
    assert "1\u00a0% above the optimum of 1, and every one is within its bounds" in " ".join(words.lead(inside))


def test_what_soft_bounds_did_is_said_in_percent_beside_the_exact_figures():
    soft = outcome(run_certificate=outcome().run_certificate | {"price": -0.52})
    # 0.01 beyond a bound of 2; a price of -0.52 for -0.5.
    assert "(up to 0.5\u00a0% of a bound), and the price is off by 4\u00a0%" in " ".join(words.lead(soft))
    rows = {row[0]: row[1:] for row in words.soft_and_exact(soft)}
    assert rows["Price of one more unit"] == ("\u22120.52", "\u22120.5", "4\u00a0%")
    assert rows["Furthest beyond a bound"] == ("0.01", "0", "0.5\u00a0%")


def test_what_one_more_unit_would_be_worth_and_where_is_in_the_report(page):
    assert "What one more unit would be worth, and where" in page.text
    assert f"{HOSTILE[0]}, whose upper bound, raised by one unit, would save 0.5" in words.worth(outcome(names=HOSTILE))
    free = dataclasses.replace(outcome().worth, upper=np.zeros(4), budget_more=np.inf)
    assert words.worth(outcome(worth=free)).startswith("Not one more unit of budget would fit")
    assert "more room would save nothing" in words.worth(outcome(worth=free))


def test_saturated_numbers_are_not_passed_over():
    trace = outcome().trace._replace(saturated=np.arange(10))
    assert "9 numbers were too large for the quantizer" in " ".join(words.lead(outcome(trace=trace)))


def test_a_number_of_a_certificate_that_is_not_known_keeps_its_name():
    rows = meanings.certificate(outcome(certificate={"news": 0.25}))
    assert rows[-1]["name"] == "news" and rows[-1]["hard"] == "0.25" and rows[-1]["exact"] == numerals.DASH


def test_nodes_at_a_bound_are_found():
    low, high = words.at_bounds(outcome())
    assert low.tolist() == [False] * 4 and high.tolist() == [True, False, False, False]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_reads_back_to_what_it_was(sign):
    powers = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    for value in sign * np.logspace(-12, 12, 97):
        text = numerals.number(value).replace(numerals.MINUS, "-").replace("\u202f", "")
        text = text.replace(f" {numerals.TIMES} 10", "e").translate(powers)
        assert float(text) == pytest.approx(
            value, rel=5.1e-3 if "e" in text else 5.1e-4
        )  # half of the last digit shown


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (np.nan, "\u2013"), (-np.inf, "\u2212∞"), (12345.0, "12\u202f345"), (0.5, "0.5"), (9.99996, "10")],
)
def test_special_numbers_are_written_as_people_do(value, text):
    assert numerals.number(value) == text


def test_a_column_has_as_many_decimals_as_it_needs():
    assert numerals.align_numbers(np.array([0.25, 12.0, np.nan])) == ["0.25", "12.00", "\u2013"]
    assert numerals.align_numbers(np.array([3, 1200])) == ["3", "1\u202f200"]
    assert numerals.align_numbers(np.array([1 / 3, 2.0])) == ["0.333", "2.000"]


def test_a_missing_jinja2_is_named_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(CojaxInputError, match=r"pip install 'cojax\[plots\]'"):
        write_report(tmp_path, outcome())


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(CojaxInputError, match=r"The report cannot be written to .*taken"):
        write_report(path, outcome())
