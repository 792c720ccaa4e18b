"""A page of each kind: its numbers, in a real browser, of hostile and of older files."""

import html
import json
import re
import shutil

import browser
import made_runs
import numpy as np
import pytest
from launching import launch
from read_page import Read, compared, read, rows_with

from advknow.experiments import results
from advknow.report import answers, commands, pages, poster, tables
from advknow.report import synthetic as synthetic_report
from advknow.runs import gallery

pytestmark = pytest.mark.slow  # For the runs that the pages are of.
# Lines of the terminal that are as long as what was found.
LONG = ("audit", "finding")
KINDS = made_runs.KINDS
FILES = {"know2adv": "results.json", "measure": "measure.json", "chain": "chain.json",
         "matrix": "matrix.json", "ranking": "ranking.json",
         "synthetic": "results.json", "evidence": "evidence.json"}  # fmt: skip
HOSTILE = (
    "<script>document.title='taken'</script>",
    "</script><img src=http://example.invalid/x onerror=\"document.title='taken'\">",
    '" onmouseover="document.title=\'taken\'" x="',
    "$\\frac{1}{$ {{ 7 * 7 }} {% raw %}",
    "\x00\x01\x1b[2J\u202e ]]> &amp; &lt;",
    "a" * 300,
    "猫 ½ é 🐈",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    found = made_runs.made(tmp_path_factory.mktemp("runs"))
    for folder in found.values():
        pages.write(folder)
    return found


@pytest.fixture(scope="module")
def driver():
    with browser.opened() as found:
        yield found


def content(folder, kind):
    return json.loads((folder / FILES[kind]).read_text())


ALPHAS = {"transfer %": "knowledge_transfer", "own accuracy %": "source_accuracy", "alpha1": "alpha1",
       "alpha2²": "alpha2_squared", "(alpha1*alpha2)²": "alpha1_alpha2_squared", "n": "n",
       "left out": "n_degenerate", "alpha1 > 1": "n_alpha1_above_one"}  # fmt: skip
LINKS = {"GMD relative": "gmd_relative", "rho²": "rho2", "FMD": "fmd",
       "FMD relative": "fmd_relative", "KTD": "ktd"}  # fmt: skip
SYNTHETIC = {"alpha1 S→T": "alpha1_S_T", "alpha1 T→S": "alpha1_T_S", "alpha2 S→T": "alpha2_S_T",
             "alpha2 T→S": "alpha2_T_S", "alpha1*alpha2 S→T": "alpha1_alpha2_S_T",
             "alpha1*alpha2 T→S": "alpha1_alpha2_T_S", "GMD": "gradient_matching",
             "loss S": "loss_f_S", "loss T": "loss_f_T"}  # fmt: skip


def measured(found):
    names = {"alpha1": "alpha1", "alpha2": "alpha2", "alpha2²": "alpha2_squared",
             "alpha1*alpha2": "alpha1_alpha2", "(alpha1*alpha2)²": "alpha1_alpha2_squared",
             "n": "n", "left out": "n_degenerate", "alpha1 > 1": "n_alpha1_above_one"}  # fmt: skip
    return {
        (way, label): (found[direction][name], found[direction].get(f"{name}_se"))
        for way, direction in (("source → target", "source_to_target"),
                               ("target → source", "target_to_source"))
        for label, name in names.items()
    }  # fmt: skip


def test_the_numbers_of_an_experiment_are_those_of_its_file(runs):
    found, page = content(runs["know2adv"], "know2adv"), read(runs["know2adv"])

    def wanted(names):
        return {
            (row["source"], label): (row[name], row.get(f"{name}_se"))
            for row in found["rows"] for label, name in names.items()
        }  # fmt: skip

    assert compared(rows_with(page, *ALPHAS), wanted(ALPHAS)) == 3 * 8
    assert compared(rows_with(page, *LINKS), wanted(LINKS)) == 3 * 5
    correlations = {
        (title, label): (found["correlations_with_knowledge_transfer"][name][what], None)
        for title, name in (("alpha1", "alpha1"), ("alpha2 (squared)", "alpha2_squared"),
                            ("KTD", "ktd"), ("rho²", "rho2"))
        for label, what in (("Pearson", "pearson"), ("Spearman", "spearman"), ("n", "n"))
    }  # fmt: skip
    assert compared(rows_with(page, "Pearson"), correlations) == 12
    printed = {
        (row["source"], label): (poster.TABLES["know2adv"][row["source"]][i], None)
        for row in found["rows"]
        for i, label in enumerate(("transfer %", "alpha1", "alpha2²", "(alpha1*alpha2)²"))
    }
    of_poster = [[row for row in table if row] for table in page.tables]
    of_poster = [rows for rows in of_poster if rows and len(rows[0]) == 5 and
                 rows[0][1][0] == "transfer %"]  # fmt: skip
    assert compared(of_poster[0], printed) == 12


def test_the_numbers_of_the_single_commands_are_those_of_their_files(runs):
    wanted = measured(content(runs["measure"], "measure"))
    assert compared(rows_with(read(runs["measure"]), "alpha1"), wanted) == 16
    of, page = content(runs["chain"], "chain")["chain"], read(runs["chain"])
    assert compared(rows_with(page, "alpha1"), measured(of)) == 16
    inequalities = {
        (f"{i['name']}: {i['statement']}", label): (i[label], None)
        for i in of["inequalities"] for label in ("left", "right", "slack")
    }  # fmt: skip
    assert compared(rows_with(page, "slack"), inequalities) == 15
    distances = {
        (title, label): (of[name][what], None)
        for title, name in (("gradient matching", "gradient"), ("function matching", "function"),
                            ("knowledge transfer", "knowledge"))
        for label, what in (("in |·|", "distance"), ("relative", "relative"))
    }  # fmt: skip
    assert compared(rows_with(page, "relative"), distances) == 6
    steps = content(runs["synthetic"], "synthetic")["rows"]
    wanted = {
        (f"{row['scale']:.1f}", label): (row[name], None)
        for row in steps for label, name in SYNTHETIC.items()
    }  # fmt: skip
    assert compared(rows_with(read(runs["synthetic"]), "GMD"), wanted) == 3 * 9


def test_the_numbers_of_collections_are_those_of_their_files(runs):
    of = content(runs["matrix"], "matrix")
    pairs = {
        (f"{source} → {target}", label): (of["values"][name][i][j],
                                          of["standard_errors"][name][i][j])
        for label, name in (("rho²", "rho2"), ("FMD relative", "fmd_relative"))
        for i, source in enumerate(of["models"]) for j, target in enumerate(of["models"]) if i != j
    }  # fmt: skip
    assert compared(rows_with(read(runs["matrix"]), "rho²"), pairs) == 4
    titles = read(runs["matrix"]).titles
    for (pair, label), (value, _) in pairs.items():
        assert any(t == f"{pair.replace(' → ', ', ')}: {value:.4g}" for t in titles), (pair, label)
    of = content(runs["ranking"], "ranking")
    rows = [row for row in of["rows"] if row["score"] == of["by"]]
    wanted = {(row["source"], "rank"): (row["rank"], None) for row in rows}
    wanted |= {
        (row["source"], of["titles"][of["by"]]): (row["value"], row["standard_error"])
        for row in rows
    }
    assert compared(rows_with(read(runs["ranking"]), "rank"), wanted) == 4


def test_the_points_say_their_numbers(runs):
    titles = read(runs["know2adv"]).titles
    for row in content(runs["know2adv"], "know2adv")["rows"]:
        said = next(t for t in titles if t.startswith(f"{row['source']}: alpha1 "))
        numbers = [
            float(n) for n in re.findall(r"\d+\.?\d*(?:e-?\d+)?", said.partition("alpha1")[2])
        ]
        wanted = [row[name] for name in ("alpha1", "alpha1_se", "knowledge_transfer",
                                         "knowledge_transfer_se")]  # fmt: skip
        np.testing.assert_allclose(numbers, wanted, rtol=5e-4)  # Four digits are shown.


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_refers_to_nothing_outside_and_is_the_same_again(kind, runs):
    text = (runs[kind] / "report.html").read_text(encoding="utf-8")
    assert all(r.startswith(("data:", "#")) for r in Read(text).references)
    assert "default-src 'none'" in text
    assert text.count("<script") == 1
    assert len(text) < 1_000_000
    assert pages.html(runs[kind]) == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_holds_the_page_and_nothing_of_it_outside(kind, runs):
    """The page is the value of one attribute, whatever its classes are called."""
    whole = re.fullmatch(r'<div><iframe srcdoc="([^"]*)" style="([^"]*)"></iframe></div>\n',
                         pages.framed(runs[kind], height=300))  # fmt: skip
    assert html.unescape(whole[1]) == pages.html(runs[kind])
    assert "height: 300px" in whole[2]
    with pytest.raises(ValueError, match="height=0"):
        pages.framed(runs[kind], height=0)


def test_the_answer_is_the_same_on_the_terminal_and_lines_fit_it(runs):
    found = results.read(runs["know2adv"])
    of = {kind: content(runs[kind], kind) for kind in KINDS}
    said = {
        "know2adv": (answers.experiment(found), tables.text(found)),
        "measure": (answers.measure(of["measure"]), commands.measured(of["measure"])),
        "synthetic": (answers.synthetic(of["synthetic"]),
                      synthetic_report.text(of["synthetic"])),
    }  # fmt: skip
    for kind, (answer, text) in said.items():
        unwrapped = " ".join(text.split())
        assert answer.sentence in unwrapped, kind
        page = (runs[kind] / "report.html").read_text(encoding="utf-8")
        start, end = page.index('class="answer">') + 15, page.index("</p>\n</header>")
        assert html.unescape(page[start:end]) == answer.sentence
        lines = [line for line in text.splitlines() if line.split(": ")[0] not in LONG]
        assert max(map(len, lines)) <= 100, kind
    assert answers.chain(of["chain"]).sentence in html.unescape(
        (runs["chain"] / "report.html").read_text(encoding="utf-8")
    )


def test_what_is_kept_of_examples_is_of_the_run(runs):
    """The target classifies them correctly; the mean of alpha1 is the row's; the attack is in."""
    found = content(runs["know2adv"], "know2adv")
    kept = gallery.load(runs["know2adv"])
    assert [one.name for one in kept] == [row["source"] for row in found["rows"]]
    for one, row in zip(kept, found["rows"], strict=True):
        assert (one.attacked, one.receiving) == (row["source"], "target")
        assert np.isfinite(one.alpha1).sum() == row["n"]
        np.testing.assert_allclose(np.nanmean(one.alpha1), row["alpha1"], rtol=1e-6)
        assert len(one.indices) == 5
        assert (np.diff(one.alpha1[one.indices]) >= 0).all()
        np.testing.assert_array_equal(one.predicted[:, 1, 0], one.label)
        assert np.abs(one.delta).max() <= found["settings"]["attack"]["eps"] + 1e-6
        assert (one.x + one.delta).min() >= -1e-6
        assert (one.x + one.delta).max() <= 1 + 1e-6
    of_chain = gallery.load(runs["chain"])
    assert all(len(one.indices) == 0 and len(one.alpha1) == 16 for one in of_chain)


def test_the_launcher_writes_the_page_again_or_says_what_is_missing(runs, tmp_path):
    folder = shutil.copytree(runs["chain"], tmp_path / "run")
    (folder / "report.html").unlink()
    done = launch("report", "--workdir=run", "--format=html", "--quiet", cwd=tmp_path)
    assert done.stdout == "the page is run/report.html\n"
    assert (folder / "report.html").read_text() == pages.html(folder)
    with pytest.raises(FileNotFoundError, match="holds no finished run: none of results.json, mea"):
        pages.html(tmp_path)


OLDER = (("know2adv", ("command", "audit", "shown", "records", "findings")),
         ("measure", ("findings",)))  # fmt: skip


@pytest.mark.parametrize(("kind", "missing"), OLDER)
def test_a_run_of_an_earlier_version_is_shown(kind, missing, runs, tmp_path):
    folder = shutil.copytree(runs[kind], tmp_path / "run")
    (folder / "gallery.npz").unlink()
    (folder / "metrics.jsonl").unlink()
    found = content(folder, kind)
    for name in missing:
        del found[name]
    (folder / FILES[kind]).write_text(json.dumps(found))
    text = re.sub("<[^>]*>", "", pages.html(folder))
    assert "This run kept no single examples" in text
    assert "command" + "not kept" in text.replace("\n", "")


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("know2adv", lambda found: found.pop("rows")),
        ("know2adv", lambda found: found["rows"][0].pop("alpha1")),
        ("know2adv", lambda found: found["rows"][0].update(knowledge_transfer="much")),
        ("know2adv", lambda found: found.update(rows=5)),
        ("know2adv", lambda found: found.update(rows=[])),
        ("know2adv", lambda found: found["rows"][0].update(alpha1=float("inf"))),
        ("measure", lambda found: found["source_to_target"].pop("alpha1")),
        ("measure", lambda found: found.pop("versions")),
        ("chain", lambda found: found["chain"].pop("inequalities")),
        ("chain", lambda found: found.update(chain=None)),
        ("matrix", lambda found: found.pop("undefined")),
        ("ranking", lambda found: found["rows"][0].pop("rank")),
        ("synthetic", lambda found: found["rows"][0].pop("loss_f_S")),
        ("evidence", lambda found: found["verdict"].pop("rankers")),
        ("evidence", lambda found: found["verdict"]["rankers"][0].pop("regret")),
        ("evidence", lambda found: found.update(verdict=5)),
        ("synthetic", lambda found: found.update(experiment="of tomorrow")),
    ],
)
def test_a_file_of_another_version_is_refused_by_name(kind, damage, runs, tmp_path):
    folder = shutil.copytree(runs[kind], tmp_path / "run")
    found = content(folder, kind)
    damage(found)
    (folder / FILES[kind]).write_text(json.dumps(found))
    with pytest.raises(ValueError, match=re.escape(str(folder / FILES[kind]))):
        pages.html(folder)


def test_a_damaged_gallery_is_refused_by_name(runs, tmp_path):
    folder = shutil.copytree(runs["measure"], tmp_path / "run")
    path = folder / gallery.FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        pages.html(folder)


def test_large_images_of_many_sources_stay_small(runs, tmp_path):
    folder = shutil.copytree(runs["know2adv"], tmp_path / "run")
    noise = np.random.default_rng(0).uniform(0, 1, (5, 300, 224, 3)).astype(np.float32)
    small = gallery.load(folder)[0]
    kept = [small._replace(x=noise, delta=0.1 * noise[::-1])] * 8 + [small] * 32
    gallery.save(folder, [one._replace(name=str(i)) for i, one in enumerate(kept)])
    text = pages.html(folder)
    assert len(text) < 5_000_000
    assert "at most 64 pixels a side" in text
    assert "The first 8 of 40 are shown" in text
    assert "The first 30 of 40 are shown" in text


OVERLAPS = r"""
const rects = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const node = walk.currentNode, of = node.parentElement;
  if (!node.data.trim() || of.closest("title, script, details:not([open]) > :not(summary)")) continue;
  // Of slanted text the boxes overlap where the letters do not.
  const turned = /rotate\((-?[\d.]+)/.exec(of.getAttribute("transform") || "");
  if (turned && turned[1] % 90) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const r of range.getClientRects())
    if (r.width > 1 && r.height > 1) rects.push({r, text: node.data.trim().slice(0, 40)});
}
const found = rects.filter(({r}) => r.left < -1 || r.right > innerWidth + 1)
  .map(({text}) => "outside: " + text);
for (let i = 0; i < rects.length; i++) for (let j = i + 1; j < rects.length; j++) {
  const a = rects[i].r, b = rects[j].r;
  const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  // Boxes of lines of text touch; letters do where they share a third of their height.
  if (wide > 2 && high > Math.min(a.height, b.height) / 3)
    found.push(rects[i].text + " | " + rects[j].text);
}
return found;
"""


def check_in_a_browser(driver, path, width, scheme="light"):
    browser.show(driver, path, width=width, scheme=scheme)
    assert browser.requests(driver) == [path.resolve().as_uri()]
    assert browser.complaints(driver) == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script(OVERLAPS) == []


@browser.needs_browser
@pytest.mark.parametrize("kind", KINDS)
def test_in_a_browser_it_asks_for_nothing_and_nothing_overlaps(kind, runs, driver):
    for width in (375, 768, 1440):
        check_in_a_browser(driver, runs[kind] / "report.html", width)


@browser.needs_browser
def test_a_click_sorts_and_another_turns_the_order(runs, driver):
    browser.show(driver, runs["know2adv"] / "report.html")
    table = driver.find_element("css selector", "table.sorted")

    def column(label):
        cells = table.find_elements("css selector", f'td[data-label="{label}"]')
        return [cell.get_attribute("data-value") for cell in cells]

    def click(label):
        button = next(b for b in table.find_elements("css selector", "th button")
                      if b.text.split(" ▾")[0].split(" ▴")[0] == label)  # fmt: skip
        button.click()

    values = sorted(map(float, column("alpha1")))
    assert len(set(values)) == 3
    click("alpha1")
    assert list(map(float, column("alpha1"))) == values[::-1]
    click("alpha1")
    assert list(map(float, column("alpha1"))) == values
    click("similarity")
    assert column("similarity") == ["100%", "50%", "0%"]
    sorts = [th.get_attribute("aria-sort") for th in table.find_elements("css selector", "th")]
    assert sorts == ["descending", *[None] * (len(sorts) - 1)]


@browser.needs_browser
def test_hover_shows_the_sources_name(runs, driver):
    from selenium.webdriver import ActionChains

    browser.show(driver, runs["know2adv"] / "report.html")
    for row in content(runs["know2adv"], "know2adv")["rows"]:
        mark = next(
            m for m in driver.find_elements("css selector", ".mark")
            if (m.find_element("css selector", "title").get_attribute("textContent") or "")
            .startswith(f"{row['source']}: alpha1 ")
        )  # fmt: skip
        ActionChains(driver).scroll_to_element(mark).move_to_element(mark).perform()
        shown = driver.execute_script(
            "return [...document.querySelectorAll('.mark:hover > title')].map(t => t.textContent)"
        )
        assert any(text.startswith(f"{row['source']}: ") for text in shown), shown


@browser.needs_browser
def test_light_dark_and_printed(runs, driver, tmp_path):
    def colours():
        return driver.execute_script(
            "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        )

    path = runs["know2adv"] / "report.html"
    browser.show(driver, path, scheme="light")
    light = colours()
    browser.show(driver, path, scheme="dark")
    dark = colours()
    browser.show(driver, path, scheme="dark", medium="print")
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(22, 25, 29)"
    assert colours() == light
    browser.printed(driver, tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.fixture(scope="module")
def hostile(runs, tmp_path_factory):
    """Runs in which everything that has a name has one of HOSTILE."""
    found = {}
    for kind in KINDS:
        folder = shutil.copytree(runs[kind], tmp_path_factory.mktemp("hostile") / kind)
        of = content(folder, kind)
        if kind == "know2adv":
            of["rows"] = [{**of["rows"][i % 3], "source": name} for i, name in enumerate(HOSTILE)]
            of["preset"] = HOSTILE[0]
            finding = {"name": HOSTILE[1], "message": HOSTILE[0], "value": 1.0, "limit": 0.0}
            of["audit"] = {name: {"n": 3, "findings": [finding]} for name in HOSTILE}
            of["findings"] = {name: [finding] for name in HOSTILE}
        elif kind in ("measure", "chain"):
            of |= {"source": HOSTILE[0], "target": HOSTILE[1], "dataset": HOSTILE[2]}
        elif kind == "matrix":
            of |= {"models": HOSTILE[:2], "sentence": HOSTILE[2]}
            of["undefined"] = [dict.fromkeys(("part", "source", "target", "why"), HOSTILE[0])]
        elif kind == "ranking":
            names = dict(zip(of["sources"], HOSTILE, strict=False))
            of["sources"] = list(names.values())
            of["rows"] = [{**row, "source": names[row["source"]]} for row in of["rows"]]
            of["titles"] = {score: HOSTILE[0] for score in of["titles"]}
            of |= {"sentence": HOSTILE[1], "target": HOSTILE[2], "trust": HOSTILE[4]}
        elif kind == "evidence":
            said = of["verdict"]
            said["targets"] = list(HOSTILE)
            for table in ("rankers", "few", "partial", "combined", "undefined"):
                for i, row in enumerate(said[table]):
                    row["score"] = HOSTILE[i % len(HOSTILE)]
            for i, row in enumerate(said["hypotheses"] + said["differences"]):
                row["of"] = HOSTILE[i % len(HOSTILE)]
            said["controls"]["copy_ranks"] = {name: {name: 1} for name in HOSTILE}
        of["command"] = HOSTILE[1]
        of["versions"] = {name: HOSTILE[i % len(HOSTILE)] for i, name in enumerate(of["versions"])}
        (folder / FILES[kind]).write_text(json.dumps(of))
        (folder / "config.json").write_text(json.dumps({HOSTILE[0]: HOSTILE[1]}))
        epoch = {"time": 1.0, "kind": "epoch", "epoch": 1, "loss": 1.0, "validation_accuracy": 0.5}
        lines = [{**epoch, "stage": f"train {name}"} for name in HOSTILE]
        lines += [{"time": 1.0, "kind": "stage", "stage": HOSTILE[1], "seconds": 1.0}]
        lines += [{"time": 1.0, "kind": "start", "command": HOSTILE[0]}]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
        kept = gallery.load(folder)
        if kept:
            names = tuple(HOSTILE)
            gallery.save(folder, [
                one._replace(name=HOSTILE[i], attacked=HOSTILE[0], receiving=HOSTILE[5],
                             classes=(names, names, names))
                for i, one in enumerate(kept)
            ])  # fmt: skip
        pages.write(folder)
        found[kind] = folder
    return found


@browser.needs_browser
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_text(kind, hostile, driver):
    path = hostile[kind] / "report.html"
    for width in (375, 1440):
        check_in_a_browser(driver, path, width)
    driver.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    for button in driver.find_elements("css selector", "th button"):
        button.click()
    assert driver.title.startswith(f"{kind.replace('ranking', 'rank')} · ")
    inside = "return [document.scripts.length, document.images.length, document.body.innerText]"
    scripts, images, text = driver.execute_script(inside)
    assert scripts == 1
    sources = driver.execute_script("return [...document.images].map(i => i.src.slice(0, 14))")
    assert set(sources) <= {"data:image/png"}
    assert images == len(sources)
    assert "onerror=" in text
    handlers = "return document.querySelectorAll('[onerror], [onmouseover], [onload]').length"
    assert driver.execute_script(handlers) == 0
    assert browser.complaints(driver) == []


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_open_no_element(kind, hostile):
    """The same where there is no browser."""
    text = (hostile[kind] / "report.html").read_text(encoding="utf-8")
    assert text.count("<script") == 1
    assert "onerror=&#34;" in text or "onerror=\\&#34;" in text
    assert all(r.startswith(("data:", "#")) for r in Read(text).references)
