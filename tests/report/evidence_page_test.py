"""The page of the study: its numbers are those of evidence.json, and what it says before it has any."""

import html
import json

import browser
import numpy as np
import pytest
from launching import launch
from planted_evidence import planted, whole_verdict
from read_page import Read, agrees, read

from advknow.evidence import records
from advknow.evidence.run import write_again
from advknow.evidence.verdict import verdict
from advknow.report import answers, pages
from advknow.report import evidence as report

SCOPES = {"all": "all targets", "near": "near", "far": "far", "new": "targets not tried before"}
TRUTHS = {"probe_accuracy": "linear probe", "fine_tuned_accuracy": "full fine-tuning"}
INTERVAL = ("mean", "low", "high")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As launch.evidence --records leaves it."""
    folder = tmp_path_factory.mktemp("study")
    write_again(folder, *whole_verdict(), command="python -m launch.evidence --records=x.csv")
    pages.write(folder)
    return folder


@pytest.fixture(scope="module")
def said(folder):
    return json.loads((folder / "evidence.json").read_text())["verdict"]


def setting(row):
    return f"zoo {row['zoo']}, {TRUTHS[row['truth']]}, {row['labels']} labels a class"


def text_of(value):
    return str(value).replace("->", "→")


def tables_with(page, labels):
    """(caption, rows of (texts, values)) of the tables with exactly these columns."""
    found = []
    for caption, table in zip(page.captions, page.tables, strict=True):
        rows = [row for row in table if row]
        if rows and [label for label, _, _ in rows[0]] == list(labels):
            found.append((caption, [[(text, value) for _, value, text in row] for row in rows]))
    return found


def compare(shown, rows, words, numbers):
    """The rows shown are those meant, in any order, each number to the digits shown.

    Returns:
      how many numbers were compared.
    """
    assert len(shown) == len(rows)
    meant = {(*map(text_of, words(row)),): list(numbers(row)) for row in rows}
    assert len(meant) == len(rows)
    compared = 0
    for cells in shown:
        texts = tuple(text for text, _ in cells[: len(words(rows[0]))])
        for (text, value), number in zip(cells[len(texts) :], meant.pop(texts), strict=True):
            if isinstance(number, str):
                assert text == value == number
                continue
            assert float(value) == number
            if text.startswith("< "):
                assert number < float(text[2:])
            else:
                assert agrees(text, number), (texts, text, number)
            compared += 1
    assert not meant
    return compared


def grouped(rows, caption):
    found = {}
    for row in rows:
        found.setdefault(caption(row), []).append(row)
    return found


@pytest.mark.slow
def test_every_ranker_is_there_with_its_numbers(folder, said):
    """Of all settings and scopes, then those of the reference model of few labels."""
    labels = ("score", "weighted tau", "from", "to", "tau", "regret", "regret of 3")

    def caption(row):
        return (
            f"{setting(row)} · {SCOPES[row['scope']]} · {row['targets']} targets, "
            f"{row['sources']} sources"
        )

    shown = tables_with(read(folder), labels)
    meant = [*grouped(said["rankers"], caption).items(), *grouped(said["few"], caption).items()]
    assert sorted(caption for caption, _ in shown) == sorted(caption for caption, _ in meant)
    compared = 0
    for (name, rows), (wanted, wanted_rows) in zip(shown, meant, strict=True):
        assert name == wanted
        compared += compare(
            rows,
            wanted_rows,
            lambda row: [row["score"]],
            lambda row: [row[k] for k in (*INTERVAL, "tau", "regret", "regret_of_3")],
        )
        values = [float(cells[1][1]) for cells in rows]
        assert values == sorted(values, reverse=True)
    assert compared == 6 * (len(said["rankers"]) + len(said["few"])) > 1000


TABLES = {
    "differences": (
        ("difference of weighted tau", "scope", "found", "from", "to", "p", "p (Holm)"),
        lambda row: [row["of"], SCOPES[row["scope"]]],
        lambda row: [*(row[k] for k in INTERVAL), row["p_value"], row["p_holm"]],
    ),
    "partial": (
        ("score", "given", "scope", "partial rank correlation", "from", "to"),
        lambda row: [row["score"], row["given"], SCOPES[row["scope"]]],
        lambda row: [row[k] for k in INTERVAL],
    ),
    "combined": (
        ("score", "scope", "weighted tau", "from", "to", "less LogME's", "less LogME's, from",
         "less LogME's, to"),
        lambda row: [row["score"], SCOPES[row["scope"]]],
        lambda row: [*(row[k] for k in INTERVAL), *(row["less_logme"][k] for k in INTERVAL)],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_a_table_a_setting_has_the_numbers_of_the_file(name, folder, said):
    labels, words, numbers = TABLES[name]
    shown, meant = dict(tables_with(read(folder), labels)), grouped(said[name], setting)
    assert list(shown) == list(meant)
    compared = sum(compare(shown[k], rows, words, numbers) for k, rows in meant.items())
    assert compared == len(said[name]) * len(numbers(said[name][0])) > 0


@pytest.mark.slow
def test_the_hypotheses_ceilings_and_stability_are_those_of_the_file(folder, said):
    page = read(folder)
    labels = ("hypothesis", "scope", "found", "from", "to", "interval", "targets", "sources")
    ((_, rows),) = tables_with(page, labels)
    assert compare(
        rows,
        said["hypotheses"],
        lambda r: [f"{r['hypothesis']}; {r['statistic']}: {r['of']}", SCOPES[r["scope"]]],
        lambda r: [
            *(r[k] for k in INTERVAL),
            "includes zero" if r["low"] <= 0 <= r["high"] else "excludes zero",
            r["targets"],
            r["sources"],
        ],
    ) == 5 * len(said["hypotheses"])  # fmt: skip
    ((_, rows),) = tables_with(page, ("truth", "scope", "one draw by another",
                                      "by the mean of others"))  # fmt: skip
    assert compare(
        rows,
        said["ceiling"],
        lambda r: [setting(r), SCOPES[r["scope"]]],
        lambda r: [r["one_draw"], r["mean_of_others"]],
    ) == 2 * len(said["ceiling"])
    titles = {"logme": "LogME", "cka": "CKA", "rho2": "rho²", "linear_probe": "linear probe",
              "alpha1_alpha2_squared_source_to_target": "(alpha1*alpha2)², S->T"}  # fmt: skip
    ((_, rows),) = tables_with(page, ("score", "zoo", "differing in", "mean weighted tau"))
    assert compare(
        rows,
        said["stability"],
        lambda r: [titles[r["quantity"]], r["zoo"], r["component"]],
        lambda r: [r["mean"]],
    ) == len(said["stability"])


@pytest.mark.slow
def test_the_forest_says_every_score_and_its_interval(folder, said):
    """Of the setting of the primary hypothesis, in all scopes: a bar and a point each."""
    titles = [title for title in read(folder).titles if ", from " in title]
    rows = [r for r in said["rankers"]
            if (r["zoo"], r["truth"]) == ("A", "probe_accuracy")]  # fmt: skip
    assert {row["scope"] for row in rows} == set(SCOPES)
    assert len(titles) == 2 * len(rows)
    meant = sorted((text_of(row["score"]), *(row[k] for k in INTERVAL)) for row in rows)
    found = []
    for title in set(titles):
        name, _, numbers = title.rpartition(": ")
        found.append((name, *map(float, numbers.replace(" to ", ", from ").split(", from "))))
    assert [name for name, *_ in sorted(found)] == [name for name, *_ in meant]
    # Four digits are shown.
    shown = np.array([numbers for _, *numbers in sorted(found)])
    np.testing.assert_allclose(shown, [numbers for _, *numbers in meant], rtol=5e-4)


@pytest.mark.slow
def test_the_answer_stands_first_on_page_and_terminal_and_words_are_there(folder, said):
    text = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    sentence = answers.evidence({"verdict": said}).sentence
    assert f'class="answer">{sentence}</p>' in text
    assert " ".join(report.text(said).split()).startswith(sentence)
    for line in (*report.chance(said), *report.undefined(said), *report.controls(said)):
        assert text_of(line) in text
    assert "CKA on 8 of 8 targets (its ranks: digits 1, MNIST 1," in text
    assert "LogME, 1 record<" in text
    assert "python" in text
    assert "launch.evidence" in text
    assert "seconds, stage by stage" not in text


def test_a_study_that_lacks_sources_says_so_and_how_it_goes_on(tmp_path):
    command = "python -m launch.evidence --preset=full --shard=1/4 --workdir=elsewhere"
    names = [f"A recipe {i}" for i in range(58)]
    content = {"preset": "full", "missing": names, "verdict": None, "settings": {},
               "command": command, "versions": {}}  # fmt: skip
    (tmp_path / "evidence.json").write_text(json.dumps(content))
    # An OSError is a line on the terminal, no traceback.
    with pytest.raises(FileNotFoundError) as error:
        pages.write(tmp_path)
    assert "58 sources have no records in it yet (A recipe 0, A recipe 1, " in str(error.value)
    assert f"--preset=full --shard=1/1 --workdir={tmp_path};" in str(error.value)
    assert "--records=A/evidence.csv,B/evidence.csv" in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_too_few_sources_have_a_page_without_an_answer(tmp_path):
    found = planted({}, count=2)
    said = verdict(found)
    assert said["rankers"] == said["hypotheses"] == []
    write_again(tmp_path, found, said, command="")
    pages.write(tmp_path)
    page = read(tmp_path)
    assert 'class="answer">It cannot be told: ' in (tmp_path / "report.html").read_text()
    first = [rows[1][0][2] for rows in page.tables]
    assert first == ["alpha1_alpha2_squared_source_to_target", "A r0"]
    assert report.text(said).startswith("It cannot be told: ")
    assert report.figure(said).axes == []


@pytest.mark.slow
def test_the_launcher_of_records_writes_the_page_and_the_report_again(tmp_path):
    records.write(planted({}, count=4), tmp_path / "x.csv")
    done = launch("evidence", "--records=x.csv", "--workdir=run", "--quiet", cwd=tmp_path)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    said = json.loads((tmp_path / "run" / "evidence.json").read_text())["verdict"]
    sentence = answers.evidence({"verdict": said}).sentence
    assert " ".join(done.stdout.split()).startswith(sentence)
    assert "report.html and evidence.png are in run\n" in done.stdout
    again = "every table, of every question: python -m launch.report --workdir=run\n"
    assert done.stdout.endswith(again)
    assert Read(page).captions.count("Of zoo A and the linear probe. Every one says that what is "
                                     "found is above zero.") == 1  # fmt: skip
    (tmp_path / "run" / "report.html").unlink()
    launch("report", "--workdir=run", "--format=html", "--quiet", cwd=tmp_path)
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == page
    done = launch("report", "--workdir=run", "--figure=it.png", "--quiet", cwd=tmp_path)
    assert done.stdout.startswith(report.text(said))
    assert (tmp_path / "it.png").stat().st_size > 1000
    (tmp_path / "run" / "evidence.json").write_text('{"verdict": null}')
    done = launch("report", "--workdir=run", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "has no verdict: sources are missing" in done.stderr


@pytest.mark.slow
@browser.needs_browser
def test_a_folded_table_opens_and_sorts(folder):
    with browser.opened() as driver:
        browser.show(driver, folder / "report.html", width=375)
        details = driver.find_element("css selector", "details:has(table)")
        assert not details.find_element("css selector", "table").is_displayed()
        details.find_element("css selector", "summary").click()
        assert details.find_element("css selector", "table").is_displayed()
        details.find_elements("css selector", "th button")[1].click()
        cells = details.find_elements("css selector", 'td[data-label="weighted tau"]')
        values = [float(cell.get_attribute("data-value")) for cell in cells]
        assert len(set(values)) > 10
        assert values == sorted(values, reverse=True)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 375
