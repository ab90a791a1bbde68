from seqjax.reporting.samples import sample_lines, sample_text

_SAMPLES = [("a\nb", "c", ""), ("x" * 20, "y", "z")]


def test_each_text_is_one_line_and_long_ones_are_cut():
    assert list(sample_lines(_SAMPLES, longest=10)) == [
        "   source  a b",
        "reference  c",
        "   output",
        "",
        "   source  xxxxxxxxx…",
        "reference  y",
        "   output  z",
        "",
    ]
    assert list(sample_lines(_SAMPLES))[4] == "   source  " + "x" * 20


def test_markdown_shows_samples_verbatim():
    lines = sample_text([("# <b>", "*", "1. _")]).splitlines()
    assert lines == ["       source  # <b>", "    reference  *", "       output  1. _"]
