from pathlib import Path

from seqjax.config import default_config
from seqjax.config_manual import manual
from seqjax.fields import flatten

_PAGE = Path(__file__).parents[1] / "docs" / "CONFIG.md"


def _rows():
    lines = manual().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_page_is_current(update_goldens):
    if update_goldens:
        _PAGE.write_text(manual(), encoding="utf-8")
    assert manual() == _PAGE.read_text(encoding="utf-8"), (
        "if the change is meant: python -m seqjax.config_manual > docs/CONFIG.md"
    )


def test_every_field_is_described_once():
    described = []
    for path in _rows():
        described += [
            path.replace("*", side) for side in ("encoder", "decoder")[: 1 + ("*" in path)]
        ]
    assert sorted(described) == sorted(flatten(default_config()))


def test_a_row_has_the_default_the_accepted_values_and_the_meaning():
    rows = _rows()
    assert rows["optimizer.clip"] == [
        "`1.0`",
        "at least 0",
        "Largest global norm of the gradient; 0 is off.",
    ]
    assert rows["model.*.norm"][1] == "one of `'layer'`, `'rms'`"
    assert rows["tokenizer.joint"][:2] == ["`True`", "true or false"]
    # A meaning of several lines is one text.
    assert rows["optimizer.moving_average"][2].endswith("evaluated and used; 0 keeps none.")
    for path, (default, accepted, meaning) in rows.items():
        assert default and accepted and meaning.endswith("."), path
