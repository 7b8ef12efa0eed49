"""The page, in a browser, and the picture."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import clustered

from dqindex import semantic_ids
from dqindex.bench.dataset import Description
from dqindex.bench.peers import PEERS
from dqindex.bench.results import read_results
from dqindex.bench.run import run as run_bench
from dqindex.errors import InputError, MissingDependencyError
from dqindex.report import explorer
from dqindex.report.families import FAMILIES, family
from dqindex.report.page import write_page
from dqindex.report.picture import write_picture
from dqindex.sids.titles import read_titles

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
N = 1500
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "frontier.jsonl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Vectors, results of a run on them, a map of them, and titles."""
    folder = tmp_path_factory.mktemp("report")
    x = clustered(N, 20)
    np.save(folder / "v.npy", x)
    description = Description(str(folder / "v.npy"), None, None, 100, 0)
    methods = ["dqindex:DQ4,IVF16,PQ4", "faiss:SQ8", "dqindex:DQ10,PQ10x4fs,RFlat"]
    outcome = run_bench(
        description,
        methods,
        folder / "r.jsonl",
        threads=[1],
        grid={"nprobe": [1, 4], "k_factor_rf": [1, 4]},
        command="dqindex bench run </script>",
    )
    assert not outcome.failed
    ids = [f"sku-{row}" for row in range(N)]
    semantic_ids(x, ids, n_subspaces=4, n_codewords=16).save(folder / "m.parquet")
    titles = [f"Soap no. {row}" for row in range(N)]
    titles[7] = "<b>Crème</b> & </script> \u2028 brûlée"
    pq.write_table(pa.table({"item_id": ids[::-1], "title": titles[::-1]}), folder / "t.parquet")
    return folder


@pytest.fixture(scope="module")
def page_path(folder):
    from dqindex import SemanticIds
    from dqindex.vectors import open_vectors

    sids = SemanticIds.load(folder / "m.parquet")
    write_page(
        read_results([folder / "r.jsonl"]),
        folder / "r.html",
        sids=sids,
        titles=read_titles(folder / "t.parquet", sids),
        source=open_vectors(folder / "v.npy"),
    )
    return folder / "r.html"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; install it, or set CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def said():
    return []


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["wide", "phone"])
def page(request, browser, page_path, said):
    """The page, open and ready, with all that the console and the network saw in `said`."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 500
    )
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: said.append(one.url) if one.url.startswith("http") else None)
    page.goto(page_path.as_uri())
    page.wait_for_selector("#item[data-ready]")
    yield page
    context.close()
    assert said == []


def names(page, column):
    return page.locator(f"#{column} tbody td:first-child").all_inner_texts()


CHARTS = ("frontier", "bytes", "build", "subspaces", "use", "tokens")


def test_charts_are_drawn(page, folder):
    for name in CHARTS:
        box = page.locator(f"#chart-{name} svg").bounding_box()
        assert 0 < box["width"] <= page.viewport_size["width"], name
    assert page.locator("#chart-frontier .series").count() == 3
    assert page.locator("#chart-bytes .dot").count() == 3
    assert page.locator("#chart-tokens .series").count() == 4
    assert page.locator("#chart-subspaces .bar").count() == 8
    assert page.locator("#chart-use .bar").count() == 4
    # Nothing makes the page wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_the_title_says_what_was_measured(page):
    title = "Recall and speed of 3 indexes of v, and semantic IDs of 1,500 items"
    assert page.locator("h1").inner_text() == title
    assert page.title() == f"{title} (dqindex)"
    assert "The 10 nearest neighbours of 100 queries, on" in page.locator("h1 + p").inner_text()


def test_colours_follow_the_scheme(page):
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", ground))) > 3 * 128
    assert light == (page.viewport_size["width"] > 500)
    ink = page.evaluate("getComputedStyle(document.querySelector('#chart-frontier .label')).fill")
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) < 3 * 128) == light


def test_a_dot_tells_its_point(page, folder):
    dot = page.locator("#chart-bytes .dot").first
    dot.scroll_into_view_if_needed()
    dot.hover()
    tip = page.locator("#chart-bytes .tip")
    assert "recall 10@10" in tip.inner_text()
    inside = page.locator("#chart-bytes").bounding_box()
    box = tip.bounding_box()
    assert box["x"] >= inside["x"]
    assert box["x"] + box["width"] <= inside["x"] + inside["width"] + 1


def test_a_family_is_hidden_and_shown(page):
    button = page.locator("#bench .legend").first.get_by_role("button", name="FAISS, others")
    button.click()
    assert page.locator("#chart-frontier .series").count() == 2
    assert page.locator("#chart-bytes .series").count() == 2
    page.locator("#bench .legend").first.get_by_role("button", name="FAISS, others").click()
    assert page.locator("#chart-frontier .series").count() == 3


# With the peers: what was measured for the README.

# Every text of a chart, whether it is within the chart, and the two that overlap most.
TEXTS = """(svg) => {
  const chart = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll("text")]
    .map((one) => [one.textContent, one.getBoundingClientRect()]);
  const shared = (a, b) => Math.min(
    Math.min(a.right, b.right) - Math.max(a.left, b.left),
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
  let worst = [0, "", ""];
  texts.forEach(([one, a], place) => texts.slice(place + 1).forEach(([other, b]) => {
    if (shared(a, b) > worst[0]) worst = [shared(a, b), one, other];
  }));
  const outside = texts.filter(([, box]) => box.left < chart.left - 1 || box.right > chart.right + 1
    || box.top < chart.top - 1 || box.bottom > chart.bottom + 1).map(([text]) => text);
  const lowest = Math.max(...texts.map(([, box]) => box.bottom));
  return { worst, outside, blank: chart.bottom - lowest, texts: texts.length };
}"""


@pytest.fixture(scope="module")
def peers_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("peers") / "r.html"
    records = read_results([RESULTS])
    assert len({one["library"] for one in records}) > 6
    write_page(records, path)
    return path


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def peers(request, browser, peers_path):
    """The page of many peers."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 500
    )
    page = context.new_page()
    page.goto(peers_path.as_uri())
    page.wait_for_selector("#chart-build svg")
    yield page
    context.close()


def options(page, name):
    return page.locator(f"#pick-{name} option").all_inner_texts()


def test_no_text_of_a_chart_covers_another(peers):
    for data in options(peers, "data"):
        peers.locator("#pick-data").select_option(label=data)
        for tier in options(peers, "tier"):
            peers.locator("#pick-tier").select_option(label=tier)
            for name in ("frontier", "bytes", "build"):
                found = peers.locator(f"#chart-{name} svg").evaluate(TEXTS)
                where = (data, tier, name, found)
                assert found["texts"] > 5, where
                # Boxes of text are taller than its letters.
                assert found["worst"][0] <= 3, where
                assert found["outside"] == [], where
                assert found["blank"] < 16, where
    assert peers.evaluate("document.documentElement.scrollWidth") <= peers.viewport_size["width"]


def test_a_family_has_one_colour_and_its_methods_their_labels(peers):
    drawn = peers.evaluate(
        """() => report.views.find((one) => one.tier === null).frontier.series
        .map((one) => [one.family, one.label, one.tone])"""
    )
    assert len(drawn) > 6
    tones: dict[str, int] = {}
    for own, _, tone in drawn:
        assert tones.setdefault(own, tone) == tone
    assert len(set(tones.values())) == len(tones)
    colours = peers.evaluate(
        """() => [...document.querySelectorAll("#bench .legend")[0].querySelectorAll(".swatch")]
        .map((one) => getComputedStyle(one).borderColor)"""
    )
    assert len(set(colours)) == len(colours) > 6
    # Many labels: ours, where there is room for any, are among them.
    known = {text for _, text, _ in drawn}
    for name in ("frontier", "bytes"):
        labels = peers.locator(f"#chart-{name} .label").all_text_contents()
        assert set(labels) <= known
        assert len(labels) == len(set(labels)) >= 6
        assert peers.locator(f"#chart-{name} .label.strong").count() >= 3


def test_tables_that_are_wider_than_the_screen_say_so(peers):
    box, note = peers.locator(".scroll").first, peers.locator(".cue").first
    wider = box.evaluate("(box) => box.scrollWidth > box.clientWidth + 1")
    assert note.is_visible() == wider
    if peers.viewport_size["width"] < 500:
        assert wider
        assert box.evaluate("(box) => box.classList.contains('more')")
        edge = box.bounding_box()
        method, _, recall = (
            box.locator(f"tbody tr:first-child td:nth-child({n})") for n in (1, 2, 3)
        )
        seen = recall.bounding_box()
        assert seen["x"] + seen["width"] <= edge["x"] + edge["width"] + 1
        assert note.bounding_box()["y"] < edge["y"]
        box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
        peers.wait_for_function("!document.querySelector('.scroll').classList.contains('more')")
        # The last figure is read beside the method that it is of.
        assert abs(method.bounding_box()["x"] - edge["x"]) < 3


def test_the_page_is_small(peers_path, page_path):
    assert page_path.stat().st_size < 300_000
    assert peers_path.stat().st_size < 1_500_000


@pytest.mark.parametrize(
    ("method", "found"),
    [
        ("dqindex:DQ8,IVF64,PQ8", "DQ in lists"),
        ("dqindex:DQ8,IVF64,PQ8x4fs,RFlat", "DQ in lists, refined"),
        ("dqindex:DQ8,PQ8x4fs,RFlat", "DQ, all codes"),
        ("dqindex:DQ8,HNSW32,PQ8", "DQ in a graph"),
        ("faiss:OPQ8_64,IVF64,PQ8", "FAISS OPQ"),
        ("faiss:HNSW16", "FAISS, others"),
        *((name, name) for name in PEERS if name not in ("dqindex", "faiss")),
    ],
)
def test_families(method, found):
    record = {"library": method.partition(":")[0], "method": method}
    assert family(record) == found
    assert found in FAMILIES


def test_the_table_sorts(page, folder):
    records = read_results([folder / "r.jsonl"])
    assert len(names(page, "points")) == len(records)

    def column(place):
        cells = page.locator(f"#points tbody td:nth-child({place})").all_inner_texts()
        return [float(cell.replace(",", "")) for cell in cells]

    assert column(3) == sorted(column(3), reverse=True)
    rate = page.get_by_role("button", name="queries/s")
    rate.click()
    assert column(6) == sorted(column(6), reverse=True)
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("queries/s")
    # By keyboard.
    page.get_by_role("button", name="queries/s").focus()
    page.keyboard.press("Enter")
    assert column(6) == sorted(column(6))
    page.get_by_role("button", name="method").click()
    found = names(page, "points")
    # Numbers in names by their size.
    assert found == sorted(
        found, key=lambda name: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", name)]
    )
    fastest = max(one["batch"]["qps"] for one in records)
    assert max(column(6)) == round(fastest)


def test_the_limit_of_bytes_is_chosen(page, folder):
    records = read_results([folder / "r.jsonl"])
    fit = [one for one in records if one["bytes"]["per_vector"] <= 64]
    assert 0 < len(fit) < len(records)
    page.locator("#pick-tier").select_option(label="at most 64")
    assert len(names(page, "points")) == len(fit)
    page.locator("#pick-tier").select_option(label="any")
    assert len(names(page, "points")) == len(records)


def test_the_explorer_answers(page, folder):
    x = np.load(folder / "v.npy")
    table = pq.read_table(folder / "m.parquet").to_pydict()
    codes = np.array(table["codes"])
    item = 42
    box = page.get_by_role("combobox", name="Item")
    if page.viewport_size["width"] > 500:
        box.fill("SOAP NO. 42")
        page.wait_for_selector("#matches li")
        assert page.locator("#matches li").first.inner_text() == "Soap no. 42"
        page.keyboard.press("ArrowDown")
        assert page.locator("#matches li[aria-selected=true]").count() == 1
        page.keyboard.press("Enter")
    else:
        box.fill("sku-42")  # by its id
        page.locator("#matches li").first.tap()
    page.wait_for_selector("#shown")
    assert page.locator("#shown").inner_text() == "Soap no. 42"
    assert "sku-42" in page.locator("#found p").first.inner_text()
    tokens = page.locator("#found p .tokens").first.inner_text().split()
    assert list(map(int, tokens)) == codes[item].tolist()

    lists = page.locator("#found ol")
    shared = (codes == codes[item]).sum(axis=1)
    shared[item] = 0
    expected = sorted(range(N), key=lambda row: (-shared[row], row))[:10]
    expected = [row for row in expected if shared[row]]
    found = lists.nth(0).get_by_role("button").all_inner_texts()
    assert found == [f"Soap no. {row}" for row in expected]
    distances = ((x - x[item]) ** 2).sum(axis=1)
    distances[item] = np.inf
    near = [f"Soap no. {row}" for row in np.argsort(distances)[:10]]
    assert lists.nth(1).get_by_role("button").all_inner_texts() == near
    both = page.locator("#found ol").nth(0).locator("li.both").count()
    assert both == len(set(found) & set(near))
    # From item to item.
    lists.nth(1).get_by_role("button").first.click()
    assert page.locator("#shown").inner_text() == near[0]


def test_names_are_text_and_nothing_else(page):
    page.get_by_role("combobox", name="Item").fill("crème")
    page.wait_for_selector("#matches li")
    page.keyboard.press("Enter")
    assert page.locator("#shown").inner_text() == "<b>Crème</b> & </script> brûlée"
    page.get_by_role("combobox", name="Item").fill("no such thing")
    page.wait_for_selector("text=No name contains that.")
    assert page.locator("#matches").is_hidden()


def test_controls_have_names(page):
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, select, input')].filter(one => "
        "!(one.innerText || one.labels?.length || one.getAttribute('aria-label'))).length"
    )
    assert unnamed == 0


def test_it_needs_nothing_else(page_path):
    text = page_path.read_text()
    assert "default-src 'none'" in text
    head = text[: text.index("<script")]
    assert all(one.startswith("data:") for one in re.findall(r'(?:src|href)="([^"]*)"', head))


def test_what_is_left_out_is_said(folder, monkeypatch):
    sids = semantic_ids(clustered(300, 8), n_subspaces=3, n_codewords=16)
    facts, blobs = explorer.pack(sids)
    assert facts["left_out"] == ["True neighbours need the vectors: --vectors."]
    assert "neighbors" not in blobs
    from dqindex.vectors import open_vectors

    source = open_vectors(clustered(300, 8))
    monkeypatch.setattr(explorer, "MOST_WORK", 100 * 8 * 20)
    monkeypatch.setattr(explorer, "MOST_ITEMS", 100)
    facts, blobs = explorer.pack(sids, source=source)
    assert facts["items"] == 100
    assert facts["known"] == 20
    assert "first 100 of 300 items" in facts["left_out"][0]
    assert "first 20 items" in facts["left_out"][1]


def test_what_does_not_match_is_refused(folder):
    from dqindex.vectors import open_vectors

    sids = semantic_ids(clustered(300, 8), n_subspaces=3, n_codewords=16)
    with pytest.raises(InputError, match="30 vectors for a map of 300 items"):
        explorer.pack(sids, source=open_vectors(clustered(30, 8)))
    with pytest.raises(InputError, match="2 titles for a map of 300 items"):
        explorer.pack(sids, titles=pa.array(["a", "b"]))
    with pytest.raises(InputError, match="nothing to show"):
        write_page([], folder / "x.html")
    assert not (folder / "x.html").exists()


def test_picture(folder):
    pytest.importorskip("kaleido")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; install it, or set CHROMIUM to its path")
    write_picture(read_results([folder / "r.jsonl"]), folder / "p.png")
    content = (folder / "p.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == 1400


def test_a_picture_without_a_browser_is_a_clear_error(folder, monkeypatch):
    import plotly.graph_objects as go

    def no_browser(*_, **__):
        raise RuntimeError("Kaleido requires Google Chrome")

    monkeypatch.setattr(go.Figure, "to_image", no_browser)
    with pytest.raises(MissingDependencyError, match="install"):
        write_picture(read_results([folder / "r.jsonl"]), folder / "no.png")
    assert not (folder / "no.png").exists()
    with pytest.raises(InputError, match="no results to draw"):
        write_picture([], folder / "no.png")


def test_command_line(folder, run, tmp_path):
    words = (
        f"bench report {folder / 'r.jsonl'} -o r.html --sids {folder / 'm.parquet'} "
        f"--vectors {folder / 'v.npy'} --titles {folder / 't.parquet'}"
    )
    done = run(*words.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    made = (tmp_path / "r.html").read_text()
    data = json.loads(made.partition('id="data">')[2].partition("</script>")[0])
    assert data["map"]["items"] == N
    assert len(data["views"][-1]["rows"]) == len(read_results([folder / "r.jsonl"]))
    for arguments, code, words in (
        (["-o", "x.html"], 1, "nothing to show"),
        ([folder / "r.jsonl"], 2, "give -o"),
        ([folder / "r.jsonl", "-o", "x.html", "--titles", "t"], 2, "are for the items of --sids"),
        ([folder / "v.npy", "-o", "x.html"], 1, "is not a result"),
        ([folder / "r.jsonl", "-o", "no/x.html"], 1, "make the folder first"),
        ([tmp_path / "none.jsonl", "-o", "x.html"], 1, "none.jsonl"),
    ):
        done = run("bench", "report", *arguments)
        assert done.returncode == code
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.html").exists()
