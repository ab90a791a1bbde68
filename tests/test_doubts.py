import pytest

from seqjax.config import default_config
from seqjax.doubts import DOUBTS, doubts_of, warn_of_doubts
from seqjax.fields import flatten

_LOWER = {"tokenizer.lowercase": True}
_NEVER_TRANSLATED = {"evaluation.translate": False}


def _config(changes):
    config = default_config()
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, []),
        (_LOWER, ["evaluation.lowercase"]),
        (_LOWER | {"evaluation.lowercase": True}, []),
        (_LOWER | {"evaluation.metrics": ()}, []),
        (_LOWER | _NEVER_TRANSLATED, []),
        ({"evaluation.lowercase": True}, []),
        ({"data.target": "zh"}, ["evaluation.tokenize", "evaluation.metrics"]),
        ({"data.target": "ja_JP", "evaluation.tokenize": "ja-mecab"}, ["evaluation.metrics"]),
        (
            {"data.target": "zh-Hans", "evaluation.metrics": ("bleu", "chrf")},
            ["evaluation.tokenize"],
        ),
        ({"data.target": "th", "evaluation.metrics": ("chrf", "exact_match")}, []),
        ({"data.target": "zh", "tokenizer.kind": "space"}, []),
        ({"data.target": "zh"} | _NEVER_TRANSLATED, []),
        ({"data.source": "zh"}, []),
        ({"data.target": "zhuang"}, []),
        ({"data.validation": "train"}, ["data.validation"]),
        ({"data.test": "train"}, ["data.test"]),
        ({"data.validation": "train", "data.split_by": "line"}, []),
        ({"data.test": "validation"}, ["data.test"]),
        ({"data.test": "validation", "data.split_by": "line"}, []),
        ({"data.target": "jp"}, ["evaluation.tokenize", "evaluation.metrics"]),
        ({"data.target": "en"}, ["data.target"]),
    ],
)
def test_settings_that_a_metric_does_not_fit_are_doubted(changes, fields):
    config = _config(changes)
    lines = doubts_of(config)
    assert [line.partition(" = ")[0] for line in lines] == fields
    flat = flatten(config)
    for field, line in zip(fields, lines, strict=True):
        assert line.startswith(f"{field} = {flat[field]!r}: ") and "{" not in line


def test_doubts_name_fields():
    assert {doubt.field for doubt in DOUBTS} <= set(flatten(default_config()))


def test_a_warning_says_each_doubt_once(caplog):
    warn_of_doubts([_config(_LOWER), _config({}), _config(_LOWER | {"seed": 2})])
    (record,) = caplog.records
    assert record.getMessage().startswith("evaluation.lowercase = False: outputs are lower-case")
