import pytest

from seqjax.config import default_config
from seqjax.overrides import apply_overrides, split_overrides
from seqjax.training.overview import overview
from seqjax.training.preparation import prepare


@pytest.fixture
def lines(tiny):
    def lines(fields):
        config = default_config()
        apply_overrides(config, split_overrides(tiny(fields))[1])
        text = overview(config, prepare(config), 12_345, None)
        return dict(line.split(": ", 1) for line in text.splitlines())

    return lines


def test_the_sides_are_named_with_their_vocabularies(lines):
    found = lines({"data.source": "de", "data.target": "en", "evaluation.every": "0"})
    assert found["corpus"].startswith("de to en; pairs 80, kept 80, ")
    assert " (de), " in found["corpus"] and found["corpus"].endswith(" (en)")
    assert found["validation"] == "never, since evaluation.every is 0"
    assert found["model"].endswith("1 layer of 16; 12,345 parameters")
    assert found["training"] == "13 steps, 2.6 epochs, on 1 device"


def test_one_vocabulary_is_one_number(lines):
    fields = {"tokenizer.joint": True, "tokenizer.kind": "byte", "parallel.data": 2}
    found = lines(fields)
    assert found["corpus"].endswith("; one vocabulary of 260")
    assert found["training"].endswith("on 2 devices")
