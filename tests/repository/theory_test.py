"""theory.md: what it names in the code is there, and what the code cites of it is there."""

import ast
import configparser
import fnmatch
import functools
import importlib
import importlib.resources
import io
import itertools
import pathlib
import re
import tokenize

import pytest

ROOT = pathlib.Path(__file__).parents[2]
THEORY = (ROOT / "advknow" / "theory.md").read_text()
SECTIONS = {int(number) for number in re.findall(r"^## (\d+)\. ", THEORY, flags=re.MULTILINE)}
TABLE = "## Where each definition is computed\n"
FILES = sorted(p for part in ("advknow", "launch") for p in (ROOT / part).rglob("*.py"))

# What the citations name: "theory.md section 3", "theory.md sections 1 to 4 and 6",
# "theory.md, Notation"; also "theory.md, section 3" and "theory.md 3". The one mention that cites
# no section says where the file lies.
NUMBERS = r"\d+(?: to \d+)?(?:(?:, \d+(?: to \d+)?)* and \d+(?: to \d+)?)?"
CITATION = re.compile(
    rf"theory\.md(?:,? (?:sections? )?(?P<numbers>{NUMBERS})(?!\d|\.\d|,? and \d| to \d|, \d)"
    r"|, Notation\b| beside this file\b)"
)


# --- the table ---------------------------------------------------------------------------------


def _rows() -> list[tuple[str, str, list[str]]]:
    """Symbol, section and function names of each row."""
    _, _, table = THEORY.partition(TABLE)
    rows = []
    for line in table.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert len(cells) == 3, line
            rows.append((cells[0], cells[1], re.findall(r"`([^`]*)`", cells[2])))
    return rows[2:]


def _resolve(name: str) -> object:
    """What the dotted name means: its longest prefix that is a module, then attributes.

    Raises:
      ImportError, AttributeError: it means nothing.
    """
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        prefix = ".".join(parts[:size])
        try:
            found = importlib.import_module(prefix)
        except ModuleNotFoundError as error:
            # Another module's absence is a fault of the code, not of the name.
            if error.name is None or not f"{prefix}.".startswith(f"{error.name}."):
                raise
            continue
        return functools.reduce(getattr, parts[size:], found)
    raise ImportError(f"{name}: no part of it is a module")


@pytest.mark.parametrize(("symbol", "section", "names"), _rows(), ids=lambda cell: str(cell)[:40])
def test_every_row_of_the_table_resolves(symbol, section, names):
    assert symbol
    assert section == "Notation" or _cited(f"theory.md {section}") <= SECTIONS
    assert names, f"{symbol} names no function"
    for name in names:
        assert name.startswith("advknow."), name
        found = _resolve(name)
        assert callable(found) or name.endswith(".TABLES"), name


def test_every_section_has_a_row():
    of = {section for _, section, _ in _rows()}
    assert {"Notation", *map(str, SECTIONS)} <= of


@pytest.mark.parametrize(
    "name",
    [
        "advknow.alphas.sums.alpha3",
        "advknow.alphas.summs.alpha1",
        "advknow.matching.sums.solve.best",
        "advknown.chain",
        "advknow.gram.Grams.target_squares",
    ],
)
def test_a_misspelt_name_does_not_resolve(name):
    with pytest.raises((ImportError, AttributeError)):
        _resolve(name)


# --- the citations -----------------------------------------------------------------------------


def _texts(source: str) -> list[str]:
    """The docstrings, other strings and comments of a file, each as one line.

    Comments on lines below each other are one text.
    """
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    last = -2
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comment = token.string.lstrip("# ")
            if token.start[0] == last + 1:
                texts[-1] += f" {comment}"
            else:
                texts.append(comment)
            last = token.start[0]
    return [" ".join(text.split()) for text in texts]


def _cited(text: str) -> set[int]:
    """The numbers of the sections that a text cites.

    Raises:
      ValueError: a mention of theory.md that is not understood.
    """
    found: set[int] = set()
    for mention in re.finditer(r"theory\.md", text):
        citation = CITATION.match(text, mention.start())
        around = text[max(0, mention.start() - 40) : mention.end() + 40]
        if citation is None:
            raise ValueError(f"not understood: ...{around}...")
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", citation["numbers"] or ""):
            numbers = range(int(first), int(last or first) + 1)
            if last and len(numbers) < 2:
                raise ValueError(f"not understood: ...{around}...")
            found |= set(numbers)
    return found


# Read here: Python 3.11 cannot parse on two threads, and a thread that prints a traceback does.
# A string that is the file's name alone cites nothing.
TEXTS = {path: [text for text in _texts(path.read_text()) if text != "theory.md"] for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_citation_is_of_a_section_that_is_there(path):
    for text in TEXTS[path]:
        assert _cited(text) <= SECTIONS, text


def test_the_citations_are_found():
    of = [_cited(text) for texts in TEXTS.values() for text in texts if "theory.md" in text]
    assert len(of) > 60
    assert set(itertools.chain(*of)) == {1, 2, 3, 4, 5, 6, 7}
    assert any("theory.md, Notation" in text for texts in TEXTS.values() for text in texts)


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("the distances (theory.md section 3).", {3}),
        ("theory.md sections 3 and 4, from sums", {3, 4}),
        ("theory.md sections 2 to 4", {2, 3, 4}),
        ("(theory.md sections 1 to 4 and 6).", {1, 2, 3, 4, 6}),
        ("theory.md sections 1, 3 and 5", {1, 3, 5}),
        ("theory.md, section 6", {6}),
        ("theory.md, Notation", set()),
        ("theory.md 7", {7}),
        ("theory.md section 3, Theorem 1", {3}),
        ("theory.md section 12", {12}),
        ("theory.md section 1 and theory.md section 9", {1, 9}),
    ],
)
def test_how_a_citation_is_read(text, sections):
    assert _cited(text) == sections


@pytest.mark.parametrize(
    "text",
    [
        "theory.md",
        "from theory.md: batched",
        "Section 7 of theory.md: the synthetic experiment",
        "theory.md sections 4 to 2",
        "theory.md section 3.2",
        "theory.md section 2 and 3, and 4",
        "theory.md section three",
        "theory.md, Appendix",
    ],
)
def test_a_form_that_is_not_understood_is_refused(text):
    with pytest.raises(ValueError, match="not understood"):
        _cited(text)


def test_strings_and_joined_comments_are_read():
    source = "# as in theory.md\n# section 8\n\nx = (\n    'theory.md '\n    'section 9'\n)\n"
    assert [_cited(text) for text in _texts(source)] == [{9}, {8}]


# --- the file ----------------------------------------------------------------------------------


def test_the_sections_that_are_cited_are_there():
    assert sorted(SECTIONS) == [1, 2, 3, 4, 5, 6, 7]
    assert re.search(r"^## Notation\b", THEORY, flags=re.MULTILINE)
    assert THEORY.count(TABLE) == 1


def test_it_is_shipped_with_the_package():
    assert (importlib.resources.files("advknow") / "theory.md").is_file()
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["advknow"].replace(",", " ").split()
    assert any("/" not in p and fnmatch.fnmatch("theory.md", p) for p in patterns)
