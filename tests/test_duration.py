import pytest

from seqjax.duration import parse_duration, resolve, wrong_duration
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
        ("10 Epochs", (10, "epochs")),
        ("2147483647 steps", (2**31 - 1, "steps")),
        ("90 s", (90, "seconds")),
        ("90s", (90, "seconds")),
        ("1.5e3 sec", (1500, "seconds")),
        ("1 second", (1, "seconds")),
        ("3 minutes", (180, "seconds")),
        ("3 Minutes", (180, "seconds")),
        ("0.5min", (30, "seconds")),
        ("1.5 h", (5400, "seconds")),
        ("2 hours", (7200, "seconds")),
        ("1 day", (86400, "seconds")),
        ("2d", (172800, "seconds")),
    ],
)
def test_every_unit_is_read(text, expected):
    number, unit = parse_duration(text)
    assert number == pytest.approx(expected[0])
    assert unit == expected[1]


@pytest.mark.parametrize(
    "text",
    ["", " ", "steps", "-1", "10 years", "ten steps", "1.2.3", "nan", "inf", "_1", "3 m", "k s"]
    + ["1k%", "5 m tokens", "1 epoch 2 steps", ".", "2 M s", "2k hours", "1:30:00", "minutes"],
)
def test_anything_else_is_reported_with_what_is_accepted(text):
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
    epoch = {"steps_per_epoch": 100, "tokens_per_epoch": 5000}
    assert resolve("evaluation.every", text, **epoch, total_steps=400) == steps


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("3G steps", "2,147,483,647 steps"),
        ("2147483648", "2,147,483,647 steps"),
        ("1e300 steps", "2,147,483,647 steps"),
        ("1e999", "2,147,483,647 steps"),
        ("9" * 400 + "k steps", "2,147,483,647 steps"),
        ("1e10 epochs", "2,147,483,647 epochs"),
        ("1e30 tokens", "4,611,686,014,132,420,609 tokens"),
        ("30000 days", "2,147,483,647 seconds"),
        ("101%", "100%"),
    ],
)
def test_what_cannot_be_counted_is_refused_with_the_most_that_can(text, most):
    with pytest.raises(UserError) as error:
        parse_duration(text)
    assert str(error.value) == f"{text!r}: expected at most {most}"


def test_only_some_units_may_be_accepted():
    assert wrong_duration("2 epochs", ("steps", "epochs")) == ""
    expected = "a duration such as '500 steps' or '2.5 epochs'"
    assert wrong_duration("10%", ("steps", "epochs")) == expected
    assert wrong_duration("10 min", ("steps", "epochs")) == expected
    assert wrong_duration("1e300", ("steps", "epochs")) == "at most 2,147,483,647 steps"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10%", "train.duration = '10%': expected a duration such as '500 steps', '2.5 epochs' or"),
        ("1M epochs", ""),
        ("1e9 epochs", "expected at most 2,147,483,647 steps; on this corpus it is 1e+11"),
        ("1e15 tokens", "expected at most 2,147,483,647 steps; on this corpus it is 2e+13"),
    ],
)
def test_a_length_of_training_that_cannot_be_counted_names_its_field(text, message):
    epoch = {"steps_per_epoch": 100, "tokens_per_epoch": 5000}
    if not message:
        assert resolve("train.duration", text, **epoch) == 100_000_000
        return
    with pytest.raises(UserError) as error:
        resolve("train.duration", text, **epoch)
    assert str(error.value).startswith(f"train.duration = {text!r}: expected ")
    assert message in str(error.value)
