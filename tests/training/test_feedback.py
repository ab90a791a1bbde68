"""What the history of validation losses does to the learning rate and to the average."""

import json

import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.training.feedback import after, feedback_of, forgotten, listens, no_losses


def configured(**fields):
    config = default_config()
    for path, value in fields.items():
        section, _, name = path.partition("__")
        config[section][name] = value
    return config


def heard(config, losses):
    """Returns the feedback after each of some evaluations, at steps 10, 20, ..."""
    history, found = no_losses(), []
    for number, loss in enumerate(losses, 1):
        history = after(history, config, 10 * number, loss)
        # A clock is JSON.
        history = json.loads(json.dumps(history))
        found.append(feedback_of(history, config))
    return found


@pytest.mark.parametrize(
    "patience, scales",
    [
        (1, [1, 1, 0.25, 0.0625, 0.0625, 0.015625, 0.00390625]),
        (2, [1, 1, 1, 0.25, 0.25, 0.25, 0.0625]),
    ],
)
def test_the_rate_drops_when_the_loss_has_not_become_better(patience, scales):
    config = configured(
        schedule__kind="plateau", schedule__factor=0.25, schedule__patience=patience
    )
    losses = [5.0, 4.0, 4.5, 4.0, 3.0, 3.0, 3.5]
    assert [float(found.scale) for found in heard(config, losses)] == scales


@pytest.mark.parametrize(
    "losses, since",
    [
        # Algorithm 1 of the paper with n = 2: the third loss before is the first that counts.
        ([5.0, 4.0, 4.5, 4.6, 4.7], [None, None, None, None, 50]),
        ([5.0, 4.0, 3.0, 2.0, 1.0], [None] * 5),
        ([5.0, 6.0, 6.0, 6.0, 9.0], [None, None, None, 40, 40]),
        # Strictly worse: the same loss over and over triggers nothing.
        ([5.0] * 5, [None] * 5),
    ],
)
def test_averaging_begins_when_the_loss_is_worse_than_long_before(losses, since):
    config = configured(optimizer__average_trigger=2)
    never = np.iinfo(np.int32).max
    found = [int(feedback.since) for feedback in heard(config, losses)]
    assert found == [never if step is None else step for step in since]


def test_losses_that_no_longer_compare_leave_what_they_did():
    config = configured(schedule__kind="plateau", optimizer__average_trigger=1)
    history = no_losses()
    for step, loss in enumerate((2.0, 3.0, 3.0)):
        history = after(history, config, step, loss)
    before = feedback_of(history, config)
    history = after(forgotten(history), config, 3, 9.0)
    assert feedback_of(history, config) == before
    assert before.scale == 0.25 and before.since == 2


def test_nothing_is_read_unless_something_depends_on_it():
    config = configured(schedule__kind="cosine")
    assert not listens(config) and feedback_of(no_losses(), config) == ()
