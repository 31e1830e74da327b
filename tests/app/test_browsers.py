"""A real browser shows the report without scrolling sideways, without asking for anything, and without complaint."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from test_report import outcome

from cojax.app.reports.report import write_report
from cojax.app.results.worth import ShareWorth

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
FLAGS += ("--disable-background-networking", "--disable-component-update")
WIDTHS = (1280, 390)  # of a desktop, and of a phone
POLICY = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')
# Says what a reader would see; what a box of its own scrolls does not make the page wider.
PROBE = """<script>addEventListener("load", () => {
  const page = document.documentElement, wide = innerWidth;
  const boxed = node => node.closest(".scroll, pre");
  parent.postMessage({
    width: wide,
    needs: page.scrollWidth,
    beyond: [...document.body.querySelectorAll("*")]
      .filter(node => !boxed(node) && node.getBoundingClientRect().right > wide + 1)
      .map(node => node.outerHTML.slice(0, 80)),
    boxes: [...document.querySelectorAll(".scroll")].map(n => n.getBoundingClientRect().right),
    blind: [...document.images].filter(n => !n.complete || !n.naturalWidth).length,
    drawings: document.querySelectorAll("figure svg").length,
    flat: [...document.querySelectorAll("figure svg")].filter(n => n.getBoundingClientRect().height < 100).length,
    silent: [...document.images].filter(n => n.alt.length < 40).length
      + [...document.querySelectorAll("svg")].filter(n => n.getAttribute("aria-label").length < 40).length,
    smallest: Math.min(...[...document.querySelectorAll("p, td, dd, figcaption")]
      .map(n => parseFloat(getComputedStyle(n).fontSize))),
    asked: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:")),
  }, "*");
})</script>"""
HOST = """<!doctype html><body>{frames}<pre id="seen"></pre><script>
const seen = [];
onmessage = event => {{ seen.push(event.data); document.getElementById("seen").textContent = JSON.stringify(seen); }};
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path")


def browser(folder, page, *flags):
    """What a browser with a new profile prints of a page, and what it complains of."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout, ran.stderr


def many(size):
    """A plan of many nodes with long names, which no phone has room for."""
    ones, names = np.ones(size), tuple(f"Llanfairpwllgwyngyll-{row}-datacentre-with-a-long-name" for row in range(size))
    shares = {name: ones for name in ("cpu", "marginal", "exact_cpu", "exact_marginal")}
    worth = ShareWorth(1.0, 1.0, ones, 0 * ones, ones, {"demand": ones * 1e-7}, ones > 0)
    ring = tuple((row, row + 1) for row in range(size - 1))
    bounds = {"lower": 0 * ones, "upper": 12_345.678 * ones}
    told = {"status": "STALLED", "certified": False, "title": "Unbroken" * 16}
    nowhere = {"learned": None, "positions": None, "columns": {"demand": ones}, "edges": ring, "worth": worth}
    return outcome(names=names, **nowhere, **shares, **bounds, **told)


@pytest.fixture(scope="module", params=["few nodes", "many nodes"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    (folder / "plan.toml").write_text('title = "' + "a long line " * 30 + '"\n')
    write_report(folder, outcome() if request.param == "few nodes" else many(150))
    return folder


def test_the_page_fits_a_desktop_and_a_phone(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    probed = POLICY.sub("", page).replace("</head>", PROBE + "</head>")  # its policy lets no script run
    (folder / "probed.html").write_text(probed, encoding="utf-8")
    # A window is never as narrow as a phone; a frame can be.
    frames = "".join(
        f'<iframe src="probed.html" style="width:{wide}px;height:900px;border:0"></iframe>' for wide in WIDTHS
    )
    (folder / "host.html").write_text(HOST.format(frames=frames), encoding="utf-8")
    dump, _ = browser(
        folder, folder / "host.html", "--dump-dom", "--virtual-time-budget=10000", "--window-size=1400,2000"
    )
    found = re.search('<pre id="seen">(.*?)</pre>', dump, re.S)
    assert found is not None, dump[-500:]
    seen = {frame["width"]: frame for frame in json.loads(html.unescape(found.group(1)))}
    assert set(seen) == set(WIDTHS)
    for wide, frame in seen.items():
        assert frame["needs"] <= wide and frame["beyond"] == []
        assert max(frame["boxes"]) <= wide
        assert frame["blind"] == 0 and frame["silent"] == 0
        assert frame["drawings"] >= 3 and frame["flat"] == 0
        assert frame["asked"] == []
        assert frame["smallest"] >= 12  # CSS pixels: smaller is not read on a phone


def test_the_browser_has_nothing_to_complain_of(folder):
    _, said = browser(folder, folder / "report.html", "--dump-dom", "--enable-logging=stderr", "--log-level=0")
    assert [line for line in said.splitlines() if "CONSOLE" in line] == []


def test_a_complaint_would_be_seen(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "bad.html").write_text(page.replace("</main>", "<script>alert(1)</script></main>"), encoding="utf-8")
    _, said = browser(folder, folder / "bad.html", "--dump-dom", "--enable-logging=stderr", "--log-level=0")
    assert any("CONSOLE" in line and "Content Security Policy" in line for line in said.splitlines())
