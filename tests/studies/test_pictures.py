import xml.etree.ElementTree as ElementTree

from seqjax.studies.pictures import Axis, Strand, bars, color, curves, parallel_coordinates
from seqjax.studies.scales import Scale, Words


def _spots(line):
    return [tuple(map(float, spot.split(","))) for spot in line.get("points").split()]


def _lines(svg):
    """Returns the lines of a picture by their class, the best one drawn last."""
    lines = ElementTree.fromstring(svg).findall(".//{*}polyline")
    return {line.get("class").split()[1]: line for line in lines}


def test_a_line_meets_each_axis_where_its_value_lies():
    axes = [
        Axis("rate", "optimizer.learning_rate", Scale(0, 10)),
        Axis("kind", "optimizer.kind", Words(["adam", "sgd"])),
        Axis("loss", "loss", Scale(0, 4), falls=True),
    ]
    strands = [
        Strand(0, "best", "#111111", [10, "adam", 1]),
        Strand(1, "a<b", "#222222", [5, None, 4], cut=True),
    ]
    lines = _lines(parallel_coordinates(axes, strands))
    assert list(lines) == ["t1", "t0"]
    best, other = _spots(lines["t0"]), _spots(lines["t1"])
    assert [y for _, y in best] == [50, 350, 125]
    assert [y for _, y in other] == [200, 350] and other[1][0] == best[2][0]
    assert lines["t1"].get("stroke-dasharray") and not lines["t0"].get("stroke-dasharray")
    assert lines["t1"].find("{*}title").text == "a<b"


def test_long_names_are_cut_and_told_in_full():
    axes = [Axis(f"field{'x' * 60}{n}", f"field {n}", Scale(0, 1)) for n in range(9)]
    root = ElementTree.fromstring(parallel_coordinates(axes, []))
    names = [text for text in root.findall(".//{*}text") if text.get("class") == "name"]
    assert all(len(name.text) < 40 and name.text.endswith("…") for name in names)
    assert names[3].find("{*}title").text == "field 3"
    assert len({name.get("y") for name in names}) == 2


def test_curves_go_through_their_points_and_those_cut_short_end_in_a_dot():
    strands = [
        Strand(0, "best", "#111111", [(0, 0.0), (100, 1.0)]),
        Strand(1, "ended", "#222222", [(50, 0.5)], cut=True),
        Strand(2, "far", "#333333", [(0, 1e9)]),
    ]
    svg = curves(strands, Scale(0, 100), Scale(0, 1), ("updates", "loss"))
    lines = _lines(svg)
    assert _spots(lines["t0"]) == [(60, 350), (984, 30)]
    assert _spots(lines["t2"]) == [(60, -2)]
    dots = ElementTree.fromstring(svg).findall(".//{*}circle")
    assert [(dot.get("cx"), dot.get("cy")) for dot in dots][-1] == ("522.0", "190.0")


def test_bars_are_as_long_as_their_shares():
    root = ElementTree.fromstring(bars({"a": 0.6, "b": 0.3, "c": 0.1}))
    widths = [float(bar.get("width")) for bar in root.findall(".//{*}rect")]
    assert [round(width / widths[0], 2) for width in widths] == [1, 0.5, 0.17]
    assert [t.text for t in root.findall(".//{*}text")] == ["a", "60 %", "b", "30 %", "c", "10 %"]


def test_colours_tell_ranks_apart():
    colors = [color(rank, 20) for rank in range(-1, 20)]
    assert len(set(colors)) == 21
    assert color(1, 2) == color(1, 20) == "#30106b"
    assert color(19, 20) == "#c3d05a"
