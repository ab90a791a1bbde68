import pytest

from seqjax.studies.figures import color, wrapped


def test_colours_are_distinct_and_few_of_them_are_easily_distinguished():
    for count in (1, 8, 9, 40):
        colors = [color(rank, count) for rank in range(count)]
        assert len(set(colors)) == count
        assert all(len(one) == 7 and int(one[1:], 16) >= 0 for one in colors)
    assert color(0, 9) == "#7b2cbf" and color(8, 9) == "#c9a227"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("loss", ["loss"]),
        (
            "learning_rate-0.001_encoder.width-64",
            ["learning_", "rate-0.001_", "encoder.", "width-64"],
        ),
        ("/data/wmt/en-de", ["/data/wmt/", "en-de"]),
        ("a<b", ["a&lt;b"]),
        ("indivisibleword", ["indivisibleword"]),
        ("", [""]),
    ],
)
def test_long_names_are_wrapped_where_they_have_joints(text, lines):
    assert wrapped(text, 12).split("<br>") == lines
