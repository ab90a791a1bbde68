import math

import numpy as np
import pytest

from seqjax.tasks.output_limits import limited_outputs, warn_of_limits, warn_of_positions
from seqjax.tasks.text_to_text import TextToText


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (
            "sinusoidal",
            "decode.max_length_ratio = 2, decode.max_length_extra = 10: 2 of 4 references of the"
            " training split are longer than any output may be, such as one of 60 tokens for a"
            " source of 7, with 24 allowed; decode.max_length_ratio=7.2 would hold them all",
        ),
        (
            "learned",
            "decode.max_length_ratio = 2, decode.max_length_extra = 10,"
            " model.decoder.max_positions = 20: 3 of 4 references of the training split are longer"
            " than any output may be, such as one of 60 tokens for a source of 7, with 20 allowed",
        ),
    ],
)
def test_references_beyond_any_output_are_reported(positions, message, tiny_task, caplog):
    """As characters out of words in: nothing that is learned can help."""
    task = tiny_task(max_length_ratio=2.0, max_length_extra=10)
    task.config.model.decoder.update(positions=positions, max_positions=20)
    task = TextToText(task.config, task.tokenizers)
    sources, targets = np.array([7, 7, 7, 7]), np.array([24, 25, 60, 3])
    warn_of_limits(task, sources, targets, "the training split")
    assert [record.getMessage() for record in caplog.records] == [message]


def test_the_ratio_that_is_named_holds_all(tiny_task, caplog):
    random = np.random.RandomState(0)
    for _ in range(50):
        task = tiny_task(max_length_ratio=1.0, max_length_extra=int(random.randint(0, 5)))
        sources, targets = random.randint(1, 60, 8), random.randint(70, 300, 8)
        caplog.clear()
        warn_of_limits(task, sources, targets, "a")
        (record,) = caplog.records
        ratio = float(record.getMessage().split("decode.max_length_ratio=")[1].split()[0])
        for value, enough in ((ratio, True), (ratio - 0.2, False)):
            task.config.decode.max_length_ratio = value
            limits = [task.max_output(int(source)) for source in sources]
            assert all(targets <= limits) == enough


@pytest.mark.parametrize(("count", "reported"), [(9, False), (10, True)])
def test_single_odd_pairs_are_not_reported(count, reported, tiny_task, caplog):
    task = tiny_task(max_length_ratio=2.0, max_length_extra=10)
    targets = np.where(np.arange(1000) < count, 99, 5)
    warn_of_limits(task, np.full(1000, 4), targets, "a")
    assert bool(caplog.records) == reported


def test_outputs_that_ended_at_their_limit_name_the_fields(tiny_task):
    said = limited_outputs(tiny_task(max_length_ratio=1.5, max_length_extra=3), 2, 9)
    assert said == (
        "decode.max_length_ratio = 1.5, decode.max_length_extra = 3:"
        " 2 of 9 outputs ended because they reached their limit"
    )


def test_documents_beyond_learned_positions_are_reported(caplog):
    warn_of_positions(math.inf, np.array([7, 90]), "the training split")
    warn_of_positions(20, np.array([7, 20]), "the training split")
    assert not caplog.records
    warn_of_positions(20, np.array([7, 21, 20, 60]), "the training split")
    (message,) = (record.getMessage() for record in caplog.records)
    assert message.startswith(
        "model.decoder.max_positions = 20: 2 of 4 documents of the training split are longer, the"
        " longest 60 tokens"
    )
