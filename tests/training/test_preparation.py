import pytest

from seqjax.config import default_config
from seqjax.data.tokenizer import save_tokenizers
from seqjax.errors import UserError
from seqjax.overrides import apply_overrides, split_overrides
from seqjax.training.durations import Durations
from seqjax.training.preparation import prepare


@pytest.fixture
def configured(tiny):
    def configure(fields=None):
        config = default_config()
        apply_overrides(config, split_overrides(tiny(fields))[1])
        return config

    return configure


def test_durations_of_every_unit_become_steps(configured):
    """80 pairs in batches of 16 are 5 steps an epoch."""
    fields = {
        "train.duration": "4 epochs",
        "schedule.warmup": "10%",
        "evaluation.every": "1.5 epochs",
        "checkpoint.every": "3 steps",
        "reporting.every": "0",
    }
    prepared = prepare(configured(fields))
    assert prepared.plan.steps_per_epoch == 5
    expected = Durations(total=20, warmup=2, evaluate=8, save=3, report=0)
    assert prepared.durations == expected


def test_durations_in_tokens_count_targets(configured):
    tokens = prepare(configured()).plan.tokens_per_epoch
    fields = {"train.duration": f"{2 * tokens} tokens", "evaluation.every": f"{tokens} tokens"}
    durations = prepare(configured(fields)).durations
    assert (durations.total, durations.evaluate) == (10, 5)


def test_a_warmup_longer_than_training_is_refused_once_the_corpus_is_known(configured):
    fields = {"train.duration": "9 steps", "schedule.warmup": "2 epochs"}
    with pytest.raises(UserError, match=r"schedule.warmup = 10 steps: expected at most .* 9 steps"):
        prepare(configured(fields))


def test_a_validation_split_that_is_not_there_is_reported_before_any_work(configured, tmp_path):
    with pytest.raises(UserError, match="did you mean 'validation'"):
        prepare(configured({"data.validation": "validatoin"}), tmp_path)
    assert not list(tmp_path.iterdir())
    prepare(configured({"data.validation": "validatoin", "evaluation.every": "0"}), tmp_path)


def test_without_a_folder_nothing_is_written(configured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare(configured(), None)
    assert not list(tmp_path.iterdir())


def test_tokenizers_of_a_run_are_found_again(configured, tmp_path):
    config = configured()
    first = prepare(config, tmp_path)
    assert not list(tmp_path.iterdir())
    save_tokenizers(first.tokenizers, tmp_path / "tokenizer")
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    # The corpus has changed; what a trained model's numbers mean must not.
    again = prepare(configured({"data.synthetic_size": 16}), tmp_path)
    assert again.tokenizers.fingerprint == first.tokenizers.fingerprint
    anew = prepare(configured({"data.synthetic_size": 16}))
    assert anew.tokenizers.fingerprint != first.tokenizers.fingerprint


def test_tokenizers_of_a_start_that_was_cut_short_are_not_trusted(configured, tmp_path):
    """Without a checkpoint nothing depends on them, and the config may have changed since."""
    short = prepare(configured({"tokenizer.vocabulary": 30}))
    save_tokenizers(short.tokenizers, tmp_path / "tokenizer")
    (tmp_path / "checkpoints").mkdir()
    prepared = prepare(configured(), tmp_path)
    assert prepared.tokenizers["source"].vocabulary_size > 30


def test_rows_can_be_divided_among_devices_and_parts(configured):
    fields = {
        "batching.kind": "tokens",
        "batching.tokens": 200,
        "parallel.data": 4,
        "optimizer.accumulate": 3,
    }
    prepared = prepare(configured(fields))
    assert prepared.mesh.size == 4
    assert {shape.rows % 12 for shape in prepared.plan.shapes} == {0}


def test_more_devices_than_there_are_is_a_mistake(configured):
    with pytest.raises(UserError, match="parallel.data = 999, .* expected their product 999 to be"):
        prepare(configured({"parallel.data": 999}))


def test_a_plan_leaves_room_for_sampled_segmentations(configured):
    fields = {"tokenizer.kind": "bpe", "tokenizer.vocabulary": 100}
    plain = prepare(configured(fields))
    sampled = prepare(configured(fields | {"tokenizer.sampling": 0.2}))
    assert plain.sampling is None
    assert sampled.sampling is not None
    assert sampled.plan.largest["source"] >= plain.plan.largest["source"]
    # The same segmentations are counted, however they are drawn later.
    assert sampled.plan.tokens_per_epoch == plain.plan.tokens_per_epoch
