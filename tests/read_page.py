"""What a page says: its tables, titles and references, and whether its numbers are those meant."""

import html.parser


class Read(html.parser.HTMLParser):
    """The page's tables, as rows of [label, value, text], its titles, and what it refers to.

    captions: of the tables, in their order, or under what they are folded away.
    """

    def __init__(self, text):
        super().__init__()
        self.tables, self.cell, self.references, self.titles = [], None, [], []
        self.captions, self.caption = [], ""
        self.in_title = self.in_caption = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.references += [given[name] for name in ("src", "href", "srcset", "action", "data")
                            if given.get(name)]  # fmt: skip
        if tag in ("caption", "summary"):
            self.caption, self.in_caption = "", True
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag == "td" and "data-label" in given:
            self.cell = [given["data-label"], given["data-value"], ""]
            self.tables[-1][-1].append(self.cell)
        elif tag == "title":
            self.titles.append("")
            self.in_title = True

    def handle_endtag(self, tag):
        if tag == "td":
            self.cell = None
        elif tag in ("caption", "summary"):
            self.in_caption = False
        elif tag == "table":
            self.captions.append(self.caption)
            self.caption = ""
        self.in_title = self.in_title and tag != "title"

    def handle_data(self, data):
        if self.cell is not None:
            self.cell[2] += data
        if self.in_caption:
            self.caption += data
        if self.in_title:
            self.titles[-1] += data


def read(folder):
    return Read((folder / "report.html").read_text(encoding="utf-8"))


def rows_with(page, *labels):
    """The rows of the page's first table that has columns of these labels."""
    for table in page.tables:
        rows = [row for row in table if row]
        if rows and set(labels) <= {label for label, _, _ in rows[0]}:
            return rows
    raise AssertionError(labels)


def agrees(shown, value):
    """Whether the digits shown are those of the value, rounded."""
    digits = len(shown.partition(".")[2])
    return abs(float(shown) - value) <= 0.5 * 10.0**-digits * (1 + 1e-9)


def compared(rows, wanted):
    """How many cells are those of `wanted`: (first cell, label) -> the value and its error."""
    seen = set()
    for row in rows:
        for label, value, text in row[1:]:
            key = (row[0][2], label)
            if key not in wanted:
                continue
            number, error = wanted[key]
            shown, _, shown_error = text.partition(" ± ")
            assert float(value) == number, key
            assert agrees(shown, number), (key, shown, number)
            assert bool(shown_error) == (error is not None), key
            assert error is None or agrees(shown_error, error), (key, shown_error, error)
            seen.add(key)
    assert seen == set(wanted)
    return len(seen)
