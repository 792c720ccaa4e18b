"""The charts draw what they are given, where it belongs, and say it; names are text."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from advknow.report.pages import charts

NAMES = ("MLP", "<b>$x^2$</b>", "\x00\u202e" + "n" * 100)


def drawn(markup):
    """The chart as XML: text that is markup would be no XML, or an element of its own."""
    root = ElementTree.fromstring(str(markup))
    assert root.tag == "svg"
    assert {element.tag for element in root.iter()} <= {
        "svg", "g", "path", "defs", "use", "clipPath", "rect", "text", "tspan", "title"
    }  # fmt: skip
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        for reference in re.findall(r"url\(#([^)]*)\)", " ".join(element.attrib.values())):
            assert reference in ids
        assert element.get("href", "#")[1:] in (*ids, "")
    return root


def marks(root, gid):
    """The elements of that gid, whose ids have the chart's prefix."""
    return [e for e in root.iter() if (e.get("id") or "").partition("-")[2] == gid]


def title(element):
    return element.find("title").text


def place(root, gid):
    """Where the one marker of that gid is."""
    (use,) = [u for mark in marks(root, gid) for u in mark.iter("use")]
    return float(use.get("x")), float(use.get("y"))


def affine(places, values):
    """Whether the places are an affine function of the values."""
    slope, offset = np.polyfit(values, places, 1)
    # Coordinates are written with six digits: 1e-3 points of some hundreds.
    return np.allclose(np.multiply(slope, values) + offset, places, atol=1e-3) and abs(slope) > 0


def test_points_lie_where_they_belong():
    x, y = [0.1, 0.4, 0.25], [50.0, 60.0, 90.0]
    root = drawn(
        charts.against(x, y, names=NAMES, x_label="alpha1", y_label="transfer",
                       x_error=[0.01, None, 0.02], y_error=None)
    )  # fmt: skip
    places = np.array([place(root, f"mark-{i}-0") for i in range(3)])
    assert affine(places[:, 0], x)
    assert affine(places[:, 1], y)
    assert title(marks(root, "mark-0-0")[0]) == "MLP: alpha1 0.1 ± 0.01, transfer 50"
    assert title(marks(root, "mark-1-0")[0]) == "<b>$x^2$</b>: alpha1 0.4, transfer 60"
    # An error bar is 0.04 long on the axis of x, of the point with the error 0.02.
    (bar,) = [p for m in marks(root, "mark-2-3") for p in m.iter("path")]
    ends = [float(n) for n in re.findall(r"[ML] (\S+)", bar.get("d"))]
    slope = np.polyfit(x, places[:, 0], 1)[0]
    assert ends[1] - ends[0] == pytest.approx(0.04 * slope, abs=1e-2)
    assert not marks(root, "mark-1-3")


def test_intervals_reach_from_low_to_high():
    values, low, high = [1.0, 2.5, 2.0], [1.0, 2.0, 1.0], [2.0, 3.0, 3.0]
    root = drawn(charts.intervals(values, low, high, names=NAMES, label="rank"))
    at = [place(root, f"mark-{i}-1")[0] for i in range(3)]
    slope, offset = np.polyfit(values, at, 1)
    for i in range(3):
        (bar,) = marks(root, f"mark-{i}-0")[0].iter("path")
        ends = [float(n) for n in re.findall(r"[ML] (\S+)", bar.get("d"))]
        np.testing.assert_allclose(
            ends, [slope * low[i] + offset, slope * high[i] + offset], atol=0.01
        )
    assert title(marks(root, "mark-1-0")[0]) == "<b>$x^2$</b>: 2.5, from 2 to 3"
    assert affine([place(root, f"mark-{i}-1")[1] for i in range(3)], [0, 1, 2])


def test_an_axis_of_ranks_has_whole_numbers():
    for whole in (False, True):
        figure = charts.intervals(
            [1, 2], [1, 2], [2, 3], names=NAMES[:2], label="rank", whole=whole
        )
        assert (">1.5<" in figure) != whole


def test_spread_says_quantiles_of_what_is_finite():
    values = np.array([0.3, np.nan, 0.1, 0.2, 0.5, 0.4])
    root = drawn(charts.spread({"a": values, "none": np.array([np.nan]), "one": np.ones(1)},
                               label="alpha1"))  # fmt: skip
    assert title(marks(root, "mark-0-0")[0]) == (
        "a: median 0.3, half of them from 0.2 to 0.4, nine in ten from 0.12 to 0.48, n = 5"
    )
    assert not marks(root, "mark-1-0")
    assert "n = 1" in title(marks(root, "mark-2-0")[0])
    drawn(charts.spread({}, label="alpha1"))


def test_curves_pass_through_their_points():
    y = [1.0, 0.1, 0.01]
    root = drawn(charts.curves({"loss": ([1, 2, 3], y)}, x_label="epoch", y_label="loss",
                               logarithmic=True))  # fmt: skip
    places = [(float(u.get("x")), float(u.get("y"))) for u in marks(root, "mark-0")[0].iter("use")]
    assert affine([p[1] for p in places], np.log(y))
    assert "mathdefault" not in "".join(root.itertext())
    zero = charts.curves({"loss": ([1, 2], [0.0, 1.0])}, x_label="epoch", y_label="loss",
                         logarithmic=True)  # fmt: skip
    assert "0.2" in "".join(drawn(zero).itertext())  # linear: the logarithm of 0 has no place


def test_a_long_curve_has_few_markers_and_a_flat_one_ticks():
    y = np.geomspace(0.9, 0.3, 300)
    root = drawn(charts.curves({"loss": (range(300), y)}, x_label="epoch", y_label="loss",
                               logarithmic=True))  # fmt: skip
    assert len(list(marks(root, "mark-0")[0].iter("use"))) == 20
    assert "0.5" in "".join(root.itertext())


@pytest.mark.parametrize("size", [2, 20])
def test_a_heat_map_has_a_title_a_cell(size):
    """As many columns as cannot hold their numbers, and fewer; and rows, whose number is free."""
    values = np.arange(size * 3.0).reshape(size, 3).tolist()
    values[0][1], values[1][2] = None, float("nan")
    rows = [f"row {i}" for i in range(size)]
    root = drawn(charts.heat_map(values, rows=rows, columns=NAMES, label="A2", signed=True))
    assert title(marks(root, "cell-1-0")[0]) == "row 1, MLP: 3"
    for gid in ("cell-0-1", "cell-1-2"):
        assert title(marks(root, gid)[0]).endswith(": not known")
    # The numbers are in the cells where they can be read, and nothing is in an empty one.
    assert len(marks(root, "cell-1-0-number")) == 1
    assert not marks(root, "cell-0-1-number")
    turned = np.array(values, float).T.tolist()
    wide = drawn(charts.heat_map(turned, rows=NAMES, columns=rows, label="A2"))
    assert len(marks(wide, "cell-0-1-number")) == (size <= 12)
    where = [marks(root, f"cell-{i}-0")[0].find("path").get("d").split()[2] for i in range(size)]
    assert affine([float(y) for y in where], range(size))


def test_symmetric_colours_have_their_middle_at_0():
    root = drawn(
        charts.heat_map([[-2.0, 0.0, 1.0]], rows=["r"], columns="abc", label="l", signed=True)
    )
    middle = marks(root, "cell-0-1")[0].find("path").get("style")
    red, green, blue = (int(middle.split("#")[1][i : i + 2], 16) for i in (0, 2, 4))
    assert min(red, green, blue) > 240  # RdBu's white


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="'x': 2, 'y': 1"):
        charts.against([1, 2], [1], names="ab", x_label="", y_label="")
    with pytest.raises(ValueError, match="'values': 2, 'rows': 1"):
        charts.heat_map([[1], [2]], rows="a", columns="b", label="")
    with pytest.raises(ValueError, match="'row': 1, 'columns': 2"):
        charts.heat_map([[1]], rows="a", columns="bc", label="")


def test_forty_nine_series_look_different():
    looks = [charts.series(i) for i in range(49)]
    assert len({(one.css, one.sign) for one in looks}) == 49
    assert charts.series(49) == charts.series(0)
