import json

import numpy as np
import pytest
from matplotlib.image import imread

from seqjax.reporting import glyphs
from seqjax.reporting.attention_maps import write_map

SOURCE = ["▁Five", "$5", "</s>"]
OUTPUT = ["▁Fünf", "</s>"]


def test_a_map_holds_the_tokens_and_the_weights(tmp_path):
    layers = [np.full((2, 2, 3), 1 / 3, np.float32), np.eye(2, 3, dtype=np.float32)[None]]
    write_map(tmp_path / "7", SOURCE, OUTPUT, layers)
    content = json.loads((tmp_path / "7.json").read_text(encoding="utf-8"))
    assert (content["source"], content["output"]) == (SOURCE, OUTPUT)
    assert [np.shape(weights) for weights in content["weights"]] == [(2, 2, 3), (1, 2, 3)]
    np.testing.assert_allclose(content["weights"][0], 1 / 3, atol=1e-6)
    assert content["weights"][1] == [[[1, 0, 0], [0, 1, 0]]]


@pytest.mark.filterwarnings("error")
def test_letters_without_a_font_are_told_by_their_codes(tmp_path):
    """No warning of a missing glyph, and names as long as the codes."""
    for name, source in (("latin", ["h", "a"]), ("korean", ["\u1112", "\u1161"])):
        write_map(tmp_path / name, source, OUTPUT, [np.full((1, 2, 2), 0.5)])
    latin, korean = (imread(tmp_path / f"{name}.png").shape for name in ("latin", "korean"))
    assert korean[0] > latin[0] or glyphs.font_with("\u1112")


def test_where_the_weight_is_the_picture_is_dark(tmp_path):
    write_map(tmp_path / "1", SOURCE, OUTPUT, [np.eye(2, 3)[None]])
    picture = imread(tmp_path / "1.png")[..., :3].sum(-1)
    dark = np.argwhere(picture < 1.0)
    # A cell of 28 x 28 dots at least, on the left above and in the middle below.
    assert len(dark) > 2 * 28 * 20
    upper, lower = dark[dark[:, 0] < dark[:, 0].mean()], dark[dark[:, 0] > dark[:, 0].mean()]
    assert np.median(upper[:, 1]) < np.median(lower[:, 1])


def test_longer_sentences_get_larger_pictures(tmp_path):
    for name, times in (("short", 2), ("long", 10)):
        weights = np.full((1, 2 * times, 3 * times), 0.1)
        write_map(tmp_path / name, SOURCE * times, OUTPUT * times, [weights])
    short, long = (imread(tmp_path / f"{name}.png").shape for name in ("short", "long"))
    assert long[0] > short[0] + 100 and long[1] > short[1] + 100
