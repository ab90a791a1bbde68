import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.fields import flatten
from seqjax.overrides import apply_overrides, split_overrides
from seqjax.validation import validate


def _override(*arguments):
    others, overrides = split_overrides(arguments)
    assert not others
    config = default_config()
    apply_overrides(config, overrides)
    return config


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--config.model.encoder.layers=6", 6),
        ("--config.data.limit=-1", -1),
        ("--config.optimizer.learning_rate=1", 1.0),
        ("--config.batching.tokens=1e4", 10_000),
        ("--config.batching.tokens=10_000", 10_000),
        ("--config.batching.tokens=64.0", 64),
        ("--config.schedule.final=0e5", 0.0),
        ("--config.optimizer.learning_rate=5e-4", 5e-4),
        ("--config.tokenizer.joint=false", False),
        ("--config.tokenizer.lowercase=True", True),
        ("--config.train.duration=10 epochs", "10 epochs"),
        ("--config.decode.checkpoint=8000", "8000"),
        ("--config.data.directory=", ""),
        ("--config.data.files={split}=x.{language}", "{split}=x.{language}"),
        ("--config.evaluation.metrics=bleu,chrf", ("bleu", "chrf")),
        ("--config.evaluation.metrics=bleu", ("bleu",)),
        ("--config.evaluation.metrics=('bleu', 'chrf')", ("bleu", "chrf")),
        ("--config.evaluation.metrics=()", ()),
        ("--config.evaluation.metrics=", ()),
    ],
)
def test_a_text_is_read_as_the_type_of_its_field(argument, expected):
    field, _, value = argument.removeprefix("--config.").partition("=")
    for arguments in ([argument], [f"--config.{field}", value]):
        config = _override(*arguments)
        assert flatten(config)[field] == expected
        assert type(flatten(config)[field]) is type(expected)
        others = flatten(default_config()) | {field: expected}
        assert flatten(config) == others


def test_the_last_of_two_wins():
    assert _override("--config.seed=1", "--config.seed", "2").seed == 2


def test_other_arguments_are_left_in_their_order():
    arguments = ["--workdir", "a", "--config.seed", "1", "--config=b.py", "--", "--config.seed=2"]
    assert split_overrides(arguments) == (
        ["--workdir", "a", "--config=b.py", "--", "--config.seed=2"],
        [("seed", "1")],
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "--config.model.encoder.head=4",
            "model.encoder.head: the config has no such field; did you mean 'model.encoder.heads'?",
        ),
        ("--config.learning_rate=1", "did you mean 'optimizer.learning_rate'?"),
        ("--config.optimiser.learning_rate=1", "did you mean 'optimizer.learning_rate'?"),
        (
            "--config.model.heads=4",
            "did you mean 'model.encoder.heads' or 'model.decoder.heads'?",
        ),
        (
            "--config.parallel.pipeline=2",
            "parallel.pipeline: the config has no such field; expected one of parallel.data,"
            " parallel.fsdp, parallel.model",
        ),
        ("--config.zzzzzz=1", "zzzzzz: the config has no such field"),
        (
            "--config.model.encoder=4",
            "model.encoder = '4': names a section; choose one of activation",
        ),
        ("--config.seed.x=4", "seed.x: the config has no such field"),
        ("--config.seed=1.5", "seed = '1.5': expected a whole number"),
        ("--config.seed=", "seed = '': expected a whole number"),
        ("--config.seed=nan", "seed = 'nan': expected a whole number"),
        (
            "--config.optimizer.clip=1e400",
            "optimizer.clip = '1e400': expected a number of 64 bits, at most 1.8e+308 in size",
        ),
        ("--config.optimizer.clip=-1e400", "expected a number of 64 bits, at most 1.8e+308 in"),
        ("--config.seed=1e400", "expected a number of 64 bits, at most 1.8e+308 in size"),
        (
            "--config.optimizer.learning_rate=1e-400",
            "= '1e-400': expected 0 or a number of 64 bits, at least 4.9e-324 in size",
        ),
        ("--config.optimizer.clip=much", "optimizer.clip = 'much': expected a number"),
        ("--config.tokenizer.joint=1", "tokenizer.joint = '1': expected true or false"),
        ("--config.evaluation.metrics=(1, 2)", "expected a tuple of strings such as 'bleu,chrf'"),
        ("--config.evaluation.metrics=('bleu'", "expected a tuple of strings such as 'bleu,chrf'"),
        ("--config.seed", "--config.seed: expected a value, --config.seed=VALUE"),
        (
            "--config.batch_size=64",
            "no such field; did you mean 'batching.sentences' or 'batching.tokens'?",
        ),
        (
            "--config.train.seed=1",
            "no such field; did you mean 'seed', 'batching.seed' or 'decode.seed'?",
        ),
        ("--config.optimizer.lr=1", "no such field; did you mean 'optimizer.learning_rate'?"),
        (
            "--config.model.decoder.hidden_size=64",
            "no such field; did you mean 'model.decoder.width'?",
        ),
        (
            "--config.model.num_layers=6",
            "no such field; did you mean 'model.encoder.layers' or 'model.decoder.layers'?",
        ),
        ("--config.sed", "sed: the config has no such field; did you mean 'seed'?"),
    ],
)
def test_mistakes_name_the_field_the_value_and_what_is_accepted(argument, message):
    with pytest.raises(UserError) as error:
        _override(argument)
    assert message in str(error.value)


def test_what_is_no_number_is_not_taken_for_a_field_tied_to_another():
    config = default_config()
    apply_overrides(config, [("optimizer.learning_rate", "nan")])
    with pytest.raises(UserError, match="learning_rate = nan: expected a finite number"):
        validate(config)


def test_an_option_is_not_taken_for_a_value():
    with pytest.raises(UserError, match="--config.seed: expected a value"):
        split_overrides(["--config.seed", "--workdir=a"])
