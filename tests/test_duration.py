import pytest

from seqjax.duration import parse_duration, resolve
from seqjax.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0, "steps")),
        ("2000", (2000, "steps")),
        ("1 step", (1, "steps")),
        ("1.5k steps", (1500, "steps")),
        ("10_000 steps", (10_000, "steps")),
        ("1e3", (1000, "steps")),
        ("2.5 epochs", (2.5, "epochs")),
        (".5epochs", (0.5, "epochs")),
        ("4M tokens", (4e6, "tokens")),
        ("2G tokens", (2e9, "tokens")),
        ("2B tokens", (2e9, "tokens")),
        (" 10 % ", (10, "%")),
        ("100%", (100, "%")),
    ],
)
def test_every_unit_is_read(text, expected):
    number, unit = parse_duration(text)
    assert number == pytest.approx(expected[0])
    assert unit == expected[1]


@pytest.mark.parametrize(
    "text",
    ["", " ", "steps", "-1", "10 hours", "ten steps", "1.2.3", "nan", "inf", "1e999", "_1"]
    + ["101%", "1k%", "5 m tokens", "1 epoch 2 steps", "."],
)
def test_anything_else_is_told_with_what_is_accepted(text):
    with pytest.raises(UserError, match="expected a duration such as '500 steps'"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("7", 7),
        ("2 epochs", 200),
        ("2.504 epochs", 250),
        ("2.506 epochs", 251),
        # 100 steps hold 5000 tokens.
        ("10k tokens", 200),
        ("10%", 40),
        ("0", 0),
        ("0 epochs", 0),
        ("0%", 0),
        # Short, but not never.
        ("0.001 epochs", 1),
        ("1 token", 1),
    ],
)
def test_resolves_to_the_nearest_step(text, steps):
    assert resolve(text, steps_per_epoch=100, tokens_per_epoch=5000, total_steps=400) == steps


def test_a_share_needs_a_total():
    with pytest.raises(UserError, match="'10%': expected steps, epochs or tokens"):
        resolve("10%", steps_per_epoch=100, tokens_per_epoch=5000)
