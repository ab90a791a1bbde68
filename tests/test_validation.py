import pytest
from sacrebleu.metrics import BLEU

from seqjax.architectures.families import DECODERS, ENCODERS
from seqjax.config import RELATIONS, RULES, default_config
from seqjax.errors import UserError
from seqjax.fields import flatten
from seqjax.layers.attention import ATTENTIONS
from seqjax.layers.embedding import INITIALIZERS
from seqjax.layers.feed_forward import ACTIVATIONS
from seqjax.layers.normalization import NORMS
from seqjax.training.schedule_fields import check_resolved
from seqjax.validation import check_value, validate

_NAN, _INF = float("nan"), float("inf")
_APART = {"model__share_embeddings": False}


def _stacks(encoder, decoder, **changes):
    """Returns changes that choose both kinds, each stack with vectors of its own."""
    return _APART | {"model__encoder__kind": encoder, "model__decoder__kind": decoder} | changes


# The target embedding is not tied, and nothing is smoothed.
_ADAPTIVE = {
    "model__adaptive_cutoffs": "2000",
    "model__tie_output": False,
    "loss__label_smoothing": 0.0,
    "tokenizer__kind": "word",
}


def _changed(**changes):
    """Returns the default with `section__field=value` set."""
    config = default_config()
    config.update_from_flattened_dict(
        {field.replace("__", "."): value for field, value in changes.items()}
    )
    return config


def _error(config):
    with pytest.raises(UserError) as error:
        validate(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_field_has_a_rule():
    assert set(RULES) == set(flatten(default_config()))


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("model.encoder.kind", [*ENCODERS, "none"]),
        ("model.decoder.kind", DECODERS),
        ("model.decoder.attention", ["none", *ATTENTIONS]),
        ("model.encoder.activation", ACTIVATIONS),
        ("model.decoder.norm", NORMS),
        ("model.embedding_initializer", INITIALIZERS),
        ("evaluation.tokenize", BLEU.TOKENIZERS),
    ],
)
def test_the_names_of_parts_are_those_that_there_are(field, names):
    assert sorted(RULES[field].known) == sorted(names)


def test_relations_name_fields():
    assert {relation.field for relation in RELATIONS} <= set(RULES)


@pytest.mark.parametrize("value", [_NAN, _INF, -_INF])
@pytest.mark.parametrize(
    "field", [field for field, v in flatten(default_config()).items() if type(v) is float]
)
def test_no_number_may_be_infinite_or_none_at_all(field, value):
    assert _error(_changed(**{field: value})) == f"{field} = {value!r}: expected a finite number"


@pytest.mark.parametrize(
    "field", [field for field, v in flatten(default_config()).items() if type(v) is int]
)
def test_no_whole_number_is_wider_than_the_device_counts(field):
    error = _error(_changed(**{field: 2**40}))
    assert error.startswith(f"{field} = {2**40}: expected ")
    # Others have a bound by what they are.
    assert error.endswith(": expected at most 2,147,483,647") or " to " in error


@pytest.mark.parametrize("value", [1e39, 1e-39])
@pytest.mark.parametrize(
    "field", ["optimizer.learning_rate", "optimizer.epsilon", "optimizer.clip"]
)
def test_no_number_becomes_infinite_or_zero_in_32_bits(field, value):
    error = _error(_changed(**{field: value}))
    known = (
        "at most 3.4e+38, the largest number of 32 bits",
        "at least 1.2e-38, the smallest number of 32 bits",
    )
    assert error.startswith(f"{field} = {value!r}: expected ") and error.endswith(known)


def _edges():
    """Yields for each field with a range the last value inside and the first one outside."""
    at_least_1 = [
        "data.synthetic_size",
        *("tokenizer.minimum_frequency", "batching.tokens", "batching.sentences"),
        *("batching.shapes", "batching.multiple", "model.encoder.layers", "model.decoder.layers"),
        *("model.encoder.heads", "model.decoder.feed_forward", "model.encoder.max_positions"),
        *("optimizer.accumulate", "train.patience", "decode.beam_size"),
        *("decode.tokens", "decode.shapes", "decode.average", "checkpoint.keep_latest"),
    ]
    yield from ((field, 1, 0) for field in at_least_1)
    yield from ((f"data.max_{side}_length", 2, 1) for side in ("source", "target"))
    yield "decode.max_length_ratio", 1000.0, 1e30
    yield "decode.max_length_extra", 1_000_000, 2**63
    # A sum of a million tokens to this power is still a number of 32 bits.
    yield "decode.length_penalty", 6.0, 1e300
    at_least_0 = [
        *("optimizer.clip", "decode.length_penalty", "decode.max_length_ratio", "schedule.final"),
        *("optimizer.momentum", "optimizer.beta1", "optimizer.beta2", "loss.label_smoothing"),
        *("tokenizer.sampling", "model.encoder.dropout", "model.decoder.attention_dropout"),
    ]
    yield from ((field, 0.0, -0.1) for field in at_least_0)
    less_than_1 = [
        *("model.encoder.dropout", "model.encoder.attention_dropout", "tokenizer.sampling"),
        *("model.decoder.activation_dropout", "loss.label_smoothing", "optimizer.momentum"),
        *("optimizer.beta1", "optimizer.beta2"),
    ]
    yield from ((field, 0.999, 1.0) for field in less_than_1)
    yield from ((field, 1e-30, 0.0) for field in ("optimizer.learning_rate", "optimizer.epsilon"))
    for field in ("data.limit", "evaluation.limit", "parallel.data"):
        yield field, -1, 0
        yield field, 1, -2
    yield "seed", 2**32 - 1, 2**32
    yield "seed", 0, -1
    yield "batching.shapes", 12, 13
    yield "decode.shapes", 12, 13
    yield "schedule.final", 1.0, 1.1
    yield "tokenizer.vocabulary", 5, 4
    yield "decode.min_length", 0, -1
    yield "model.encoder.max_dilation", 1, 0
    yield "model.decoder.max_dilation", 8, 6
    yield "model.encoder.forget_bias", -100.0, -101.0
    yield "model.decoder.forget_bias", 100.0, 1e300
    yield "decode.checkpoint", "8000", "-1"
    yield "decode.checkpoint", "latest", "last"
    yield "data.corpus", "tfds:wmt16_translate", "tfds:"
    yield "data.files", "{split}.{language}.gz", "{split}.{lang}"
    yield "data.files", "corpus-{split}", "{split"
    yield "data.pattern", "(?P<en>a)", "(?P<en>a"
    yield "data.pattern", "(?P<en>.{9})", "(?P<en>.{99999999999999})"
    yield "data.pattern", "(a)", "(" * 5000 + "a" + ")" * 5000
    yield "train.duration", "1 token", "0"
    yield "train.duration", "2.5 epochs", "10%"
    yield "train.duration", "3 minutes", "0 s"
    yield "schedule.warmup", "2 epochs", "3 minutes"
    for field in ("evaluation.every", "checkpoint.every", "reporting.every"):
        yield field, "0", "often"
        yield field, "10%", ""
        yield field, "4M tokens", "90 s"
    yield "evaluation.metrics", (), ("bleu", "bleu")
    yield "data.max_length_ratio", 0.0, 0.5
    yield "data.max_length_ratio", 1.0, _INF
    yield "data.validation_share", 0.0, 1.0
    yield "data.test_share", 0.999, -0.1
    yield "data.split_seed", 2**32 - 1, -1
    yield "model.dtype", "bfloat16", "float16"


@pytest.mark.parametrize(("field", "inside", "outside"), list(_edges()))
def test_ranges_end_where_they_should(field, inside, outside):
    assert RULES[field].accepts(inside)
    assert not RULES[field].accepts(outside)
    error = _error(_changed(**{field: outside}))
    assert error.startswith(f"{field} = {outside!r}: expected {RULES[field].expectation(outside)}")


@pytest.mark.parametrize(
    "field",
    ["train.duration", "schedule.warmup", "evaluation.every", "checkpoint.every"]
    + ["reporting.every"],
)
@pytest.mark.parametrize("text", ["3G steps", "1e300 steps", "1e400"])
def test_every_duration_is_bounded_by_what_can_be_counted(field, text):
    assert _error(_changed(**{field: text})) == (
        f"{field} = {text!r}: expected at most 2,147,483,647 steps"
    )


@pytest.mark.parametrize(
    ("field", "value", "nearest"),
    [
        ("optimizer.kind", "adamm", "adam"),
        ("schedule.kind", "inverse_sqr", "inverse_sqrt"),
        ("model.encoder.kind", "transfomer", "transformer"),
        ("model.decoder.activation", "swglu", "swiglu"),
        ("tokenizer.kind", "words", "word"),
        ("data.corpus", "txt", "text"),
        ("data.corpus", "patern", "pattern"),
        ("tokenizer.target_kind", "words", "word"),
        ("decode.length_normalization", "plane", "plain"),
        ("checkpoint.best_metric", "blue", "bleu"),
        ("evaluation.metrics", ("bleu", "chr"), "chrf"),
    ],
)
def test_unknown_names_are_reported_with_the_known_ones_and_the_nearest(field, value, nearest):
    error = _error(_changed(**{field: value}))
    assert error.startswith(f"{field} = {value!r}: expected ")
    assert error.endswith(f"; did you mean {nearest!r}?")
    assert all(repr(name) in error for name in RULES[field].known)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model__encoder__heads": 5},
            "model.encoder.heads = 5: expected a divisor of model.encoder.width = 256",
        ),
        (
            {"model__encoder__width": 257, "model__encoder__heads": 1},
            "model.encoder.width = 257: expected an even number, since model.encoder.positions",
        ),
        (
            {"model__decoder__positions": "learned", "data__max_target_length": 513},
            "model.decoder.max_positions = 512: expected at least data.max_target_length = 513",
        ),
        (
            {"model__encoder__positions": "learned", "data__max_source_length": 513},
            "model.encoder.max_positions = 512: expected at least data.max_source_length = 513",
        ),
        (
            _ADAPTIVE | {"model__adaptive_cutoffs": "2000,8000"},
            "model.adaptive_cutoffs = '2000,8000': expected ids below tokenizer.vocabulary = 8000",
        ),
        (
            _ADAPTIVE | {"model__adaptive_cutoffs": "2000,1000"},
            "model.adaptive_cutoffs = '2000,1000': expected '', or token ids from 4 on that grow,"
            " such as '2000,10000'",
        ),
        (
            _ADAPTIVE | {"model__adaptive_cutoffs": "3"},
            "model.adaptive_cutoffs = '3': expected '', or token ids from 4 on",
        ),
        (
            _ADAPTIVE | {"tokenizer__kind": "bpe"},
            "model.adaptive_cutoffs = '2000': expected '', or tokenizer.kind to be one of 'word',",
        ),
        (
            _ADAPTIVE
            | {"tokenizer__joint": False, "tokenizer__target_kind": "byte"}
            | {"model__share_embeddings": False},
            "model.adaptive_cutoffs = '2000': expected '', or tokenizer.target_kind to be one of",
        ),
        (
            _ADAPTIVE | {"model__adaptive_cutoffs": "", "model__adaptive_inputs": True},
            "model.adaptive_inputs = True: expected False, or the ids at which clusters end in"
            " model.adaptive_cutoffs",
        ),
        (
            _ADAPTIVE | {"model__adaptive_cutoffs": "10,20,30,40,50"},
            "model.adaptive_factor = 4: expected at most 3, since with model.adaptive_cutoffs =",
        ),
        (
            _ADAPTIVE | {"model__tie_output": True},
            "model.tie_output = True: expected False, or model.adaptive_inputs = True, since",
        ),
        (
            _ADAPTIVE | {"loss__label_smoothing": 0.1},
            "loss.label_smoothing = 0.1: expected 0, since model.adaptive_cutoffs = '2000'",
        ),
        (
            {"model__decoder__last_width": 6},
            "model.decoder.last_width = 6: expected 0, since the layers of model.decoder.kind ="
            " 'transformer' are equally wide",
        ),
        (
            _stacks("lstm", "lstm", model__decoder__residual=True)
            | {"model__decoder__last_width": 8},
            "model.decoder.last_width = 8: expected 0, since with model.decoder.residual = True",
        ),
        (
            _stacks("lstm", "lstm", model__decoder__last_width=6),
            "model.decoder.heads = 4: expected a divisor of model.decoder.last_width = 6",
        ),
        (
            _stacks("lstm", "lstm", model__initial_range=0.1),
            "model.initial_range = 0.1: expected 0, or forget_bias = 0 in each LSTM",
        ),
        (
            {"model__decoder__input_dropout": -0.5},
            "model.decoder.input_dropout = -0.5: expected -1, or at least 0 and less than 1",
        ),
        (
            {"schedule__kind": "plateau", "evaluation__every": "0"},
            "schedule.kind = 'plateau': expected another kind, since evaluation.every = '0' never",
        ),
        (
            {"optimizer__average_trigger": 5, "evaluation__every": "0"},
            "optimizer.average_trigger = 5: expected 0, since evaluation.every = '0' never",
        ),
        (
            {"optimizer__average_trigger": 5, "optimizer__moving_average": 0.9},
            "optimizer.average_trigger = 5: expected 0, or optimizer.moving_average = 0: one",
        ),
        (
            {"tokenizer__joint": False},
            "model.share_embeddings = True: expected False, or tokenizer.joint = True",
        ),
        (
            {"model__encoder__width": 128},
            "model.share_embeddings = True: expected False, or model.encoder.width = 128",
        ),
        (
            {"model__encoder__embedding_width": 128},
            "model.encoder.embedding_width = 128: expected 0, since the vectors of"
            " model.encoder.kind = 'transformer' are as wide as it is",
        ),
        (
            {"model__decoder__heads": 4, "model__decoder__key_value_heads": 3},
            "model.decoder.key_value_heads = 3: expected 0 or a divisor of model.decoder.heads = 4",
        ),
        (
            {"model__encoder__kind": "convolutional", "model__encoder__kernel": 4},
            "model.encoder.kernel = 4: expected an odd number",
        ),
        (
            {"model__encoder__kind": "convolutional", "model__encoder__positions": "rotary"},
            "model.encoder.positions = 'rotary': expected 'sinusoidal', 'learned' or 'none', since"
            " model.encoder.kind = 'convolutional'",
        ),
        (
            {"model__decoder__width": 12, "model__decoder__heads": 4}
            | {"model__decoder__positions": "rotary"},
            "model.decoder.positions = 'rotary': expected another kind, or an even"
            " model.decoder.width / model.decoder.heads",
        ),
        (
            _stacks("convolutional", "lstm", model__encoder__width=8)
            | {"model__encoder__embedding_width": 7},
            "model.encoder.embedding_width = 7: expected an even number, since"
            " model.encoder.positions = 'sinusoidal'",
        ),
        (
            {"model__decoder__attention": "additive"},
            "model.decoder.attention = 'additive': expected one of 'multi_head', since"
            " model.decoder.kind = 'transformer'",
        ),
        (
            _stacks("lstm", "convolutional", model__decoder__attention="location"),
            "model.decoder.attention = 'location': expected one of 'additive', 'additive_norm",
        ),
        (
            _stacks("lstm", "convolutional", model__decoder__attention="none"),
            "model.decoder.attention = 'none': expected one of 'additive', 'additive_norm",
        ),
        (
            {"model__decoder__attention": "none"},
            "model.decoder.attention = 'none': expected one of 'multi_head', since",
        ),
        (
            _stacks("transformer", "lstm", model__decoder__attention="dot")
            | {"model__encoder__width": 128},
            "model.decoder.attention = 'dot': expected one of 'none', 'additive',"
            " 'additive_normalized', 'general', 'concat', 'location', 'multi_head', since the"
            " states of the source are 128 wide and the decoder's queries 256;"
            " or model.decoder.width = 128",
        ),
        (
            _stacks("lstm", "lstm", model__decoder__attention="dot"),
            "model.decoder.attention = 'dot': expected one of 'none', 'additive',"
            " 'additive_normalized', 'general', 'concat', 'location', 'multi_head', since the"
            " states of the source are 512 wide and the decoder's queries 256;"
            " or model.decoder.width = 512 or model.encoder.direction = 'forward'",
        ),
        (
            _stacks("lstm", "lstm", model__decoder__attention="none")
            | {"model__decoder__bridge": "zeros"},
            "model.decoder.bridge = 'zeros': expected 'projection' or 'last', since without",
        ),
        (
            _stacks("gru", "lstm", model__decoder__attention="additive")
            | {"model__encoder__layers": 2, "model__decoder__layers": 1}
            | {"model__encoder__direction": "both", "model__decoder__bridge": "last"},
            "model.decoder.bridge = 'last': expected 'projection' or 'zeros', or stacks of one"
            " form: model.encoder is 'gru' of 2 layers, 512 wide, model.decoder 'lstm' of 1 layers,"
            " 256 wide",
        ),
        (
            _stacks("lstm", "lstm", model__decoder__attention="additive")
            | {"model__decoder__readout": "state"}
            | {"model__decoder__attention_order": "update_first"},
            "model.decoder.readout = 'state': expected 'attentional' or 'deep', since with",
        ),
        (
            _stacks("lstm", "lstm", model__decoder__attention="additive")
            | {"model__decoder__readout": "deep", "model__decoder__input_feeding": True},
            "model.decoder.input_feeding = True: expected False, or attention and"
            " model.decoder.readout = 'attentional'",
        ),
        (
            _stacks("lstm", "lstm", model__decoder__attention="multi_head")
            | {"model__decoder__heads": 5},
            "model.decoder.heads = 5: expected a divisor of model.decoder.width = 256",
        ),
        (
            _stacks("gru", "transformer", model__encoder__implementation="cudnn"),
            "model.encoder.implementation = 'cudnn': expected 'scan', since model.encoder.kind ="
            " 'gru'",
        ),
        (
            _stacks("lstm", "transformer", model__encoder__implementation="cudnn")
            | {"model__encoder__cell_normalization": True},
            "model.encoder.implementation = 'cudnn': expected 'scan', since"
            " model.encoder.cell_normalization = True",
        ),
        (
            _stacks("lstm", "transformer", model__encoder__implementation="cudnn")
            | {"model__dtype": "bfloat16"},
            "model.encoder.implementation = 'cudnn': expected 'scan', since model.dtype ="
            " 'bfloat16'",
        ),
        *(
            (
                _stacks("lstm", "lstm", model__decoder__implementation="cudnn")
                | {"model__decoder__attention": "additive"}
                | {f"model__decoder__{field}": value},
                "model.decoder.implementation = 'cudnn': expected 'scan', since"
                f" model.decoder.{field} = {value!r}",
            )
            for field, value in (
                ("attention_order", "attend_first"),
                ("attention", "location"),
                ("input_feeding", True),
            )
        ),
        ({"data__corpus": "tsv"}, "data.directory = '': expected the folder of the files"),
        (
            {"data__corpus": "tsv", "data__directory": "a", "data__files": "deu.txt"},
            "data.files = 'deu.txt': expected a file name with {split}, or data.split_by = 'line',"
            " 'source' or 'order' to divide one file",
        ),
        (
            {"data__corpus": "text", "data__directory": "a", "data__split_by": "line"},
            "data.files = '{split}.{language}': expected a file name without {split}, since",
        ),
        ({"data__split_by": "line"}, "data.split_by = 'line': expected '', since data.corpus"),
        (
            {"data__corpus": "tsv", "data__directory": "a", "data__files": "deu.txt"}
            | {"data__split_by": "source", "data__validation_share": 0.5, "data__test_share": 0.5},
            "data.validation_share = 0.5: expected less than 1 with data.test_share = 0.5, so",
        ),
        ({"data__source": "fr"}, "data.source = 'fr': expected 'en' and data.target = 'de'"),
        (
            {"data__corpus": "text", "data__directory": "a", "data__files": "{split}"},
            "data.files = '{split}': expected a file name with {language}",
        ),
        (
            {"data__corpus": "pattern", "data__directory": "a", "data__pattern": "(?P<en>.*)"},
            "data.target = 'de': expected a named group of data.pattern = '(?P<en>.*)', which has",
        ),
        (
            {"data__corpus": "pattern", "data__directory": "a", "data__pattern": "(.*)=(?P<de>.*)"},
            "data.source = 'en': expected a named group of data.pattern",
        ),
        ({"data__corpus": "pattern"}, "data.directory = '': expected the folder of the files"),
        (
            {"tokenizer__target_kind": "word"},
            "tokenizer.target_kind = 'word': expected '', or tokenizer.joint = False",
        ),
        (
            {"tokenizer__kind": "word", "tokenizer__target_kind": "space"}
            | {"tokenizer__joint": False, "model__share_embeddings": False}
            | {"tokenizer__sampling": 0.1},
            "tokenizer.sampling = 0.1: expected 0, since tokenizer.kind = 'word'",
        ),
        (
            {"tokenizer__kind": "word", "tokenizer__sampling": 0.1},
            "tokenizer.sampling = 0.1: expected 0, since tokenizer.kind = 'word'",
        ),
        (
            {"optimizer__weight_decay": 0.1},
            "optimizer.weight_decay = 0.1: expected 0, since optimizer.kind = 'adam'",
        ),
        (
            {"schedule__warmup": "2001"},
            "schedule.warmup = '2001': expected at most the length of training, train.duration",
        ),
        (
            {"schedule__warmup": "2 epochs", "train__duration": "1 epoch"},
            "schedule.warmup = '2 epochs': expected at most the length of training",
        ),
        (
            {"train__stop_metric": "bleu", "evaluation__translate": False},
            "train.stop_metric = 'bleu': expected a metric that is measured",
        ),
        (
            {"checkpoint__best_metric": "ter", "evaluation__metrics": ("bleu",)},
            "checkpoint.best_metric = 'ter': expected a metric that is measured: "
            "evaluation.metrics = ('bleu',)",
        ),
        (
            {"train__stop_metric": "loss", "evaluation__every": "0"},
            "train.stop_metric = 'loss': expected '', since evaluation.every = '0'",
        ),
        (
            {"checkpoint__keep_best": 0},
            "decode.checkpoint = 'best': expected 'latest' or a step number",
        ),
        (
            {"model__encoder__kind": "lstm", "model__encoder__scan_layers": True},
            "model.encoder.scan_layers = True: expected false, since model.encoder.kind = 'lstm'",
        ),
        (
            {
                "model__decoder__kind": "convolutional",
                "model__decoder__attention": "dot",
                "model__decoder__max_dilation": 4,
                "model__decoder__scan_layers": True,
            },
            "model.decoder.scan_layers = True: expected false, since model.decoder.max_dilation"
            " = 4: it needs equal layers",
        ),
        (
            {"model__encoder__kind": "gru", "model__encoder__rematerialize": True},
            "model.encoder.rematerialize = True: expected false, since model.encoder.kind = 'gru'",
        ),
        (
            {"decode__max_length_ratio": 0.0, "decode__max_length_extra": 0},
            "decode.max_length_extra = 0: expected at least 1",
        ),
        (
            {"task": "language_model", "model__decoder__attention": "none"},
            "data.corpus = 'synthetic:translation': expected 'synthetic:sentences', 'text', 'tsv',"
            " 'jsonl', 'pattern' or 'tfds:NAME', since task = 'language_model'",
        ),
        (
            {"data__corpus": "synthetic:sentences"},
            "data.corpus = 'synthetic:sentences': expected 'synthetic:translation', 'text', 'tsv',"
            " 'jsonl', 'pattern' or 'tfds:NAME', since task = 'text_to_text'",
        ),
        (
            {"decode__method": "sample"},
            "decode.beam_size = 4: expected 1, since decode.method = 'sample' has no beam;"
            " `predict --n_best=N` prints N samples",
        ),
        (
            {"decode__temperature": 0.7},
            "decode.temperature = 0.7: expected 1.0, or decode.method = 'sample': a beam search has"
            " no such filter",
        ),
        (
            {"decode__method": "beam", "decode__top_k": 40},
            "decode.top_k = 40: expected 0, or decode.method = 'sample'",
        ),
        (
            {"decode__average": 4},
            "decode.average = 4: expected at most the checkpoints that are kept",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_reported(changes, message):
    assert _error(_changed(**changes)).startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"model__encoder__width": 255, "model__encoder__heads": 5, "model__share_embeddings": False}
        | {"model__encoder__positions": "learned"},
        {"model__decoder__positions": "learned", "data__max_target_length": 512},
        {"schedule__warmup": "2000 steps"},
        # Comparable only when the length of an epoch is known.
        {"schedule__warmup": "3000 steps", "train__duration": "1 epoch"},
        {"optimizer__weight_decay": 0.1, "optimizer__kind": "adamw"},
        {"data__source": "de", "data__target": "en"},
        {"train__stop_metric": "loss", "evaluation__translate": False},
        {"train__stop_metric": "bleu", "evaluation__metrics": ("bleu",)},
        {"tokenizer__target_kind": "bpe"},
        {"tokenizer__joint": False, "model__share_embeddings": False}
        | {"tokenizer__kind": "character", "tokenizer__target_kind": "bpe"}
        | {"tokenizer__sampling": 0.1},
        {"data__corpus": "pattern", "data__directory": "a", "data__pattern": "(?P<de>.)(?P<en>.)"},
        {"decode__average": 3},
        {"decode__method": "sample", "decode__beam_size": 1, "decode__temperature": 0.0}
        | {"decode__top_p": 0.9, "decode__repetition_penalty": 1.2},
        # The models of configs/classics.py.
        _stacks("lstm", "lstm", model__encoder__direction="backward")
        | {"model__decoder__attention": "none", "model__decoder__bridge": "last"}
        | {"model__decoder__readout": "state"},
        _stacks("gru", "gru", model__decoder__attention="none", model__decoder__readout="deep")
        | {"model__encoder__direction": "forward", "model__decoder__feed_summary": True},
        _stacks("gru", "gru", model__decoder__attention="additive")
        | {"model__decoder__attention_order": "attend_first", "model__decoder__readout": "deep"},
        _stacks("lstm", "lstm", model__encoder__direction="forward")
        | {"model__decoder__attention": "general", "model__decoder__bridge": "last"}
        | {"model__decoder__input_feeding": True},
        _stacks("convolutional", "convolutional", model__decoder__attention="dot")
        | {"model__encoder__positions": "learned", "model__decoder__positions": "learned"},
        {"model__encoder__normalization": "post", "model__decoder__normalization": "post"},
        _stacks("transformer", "lstm", model__decoder__attention="additive")
        | {"model__decoder__attention_order": "attend_first"},
        # By cuDNN, wherever no position waits for more than the layers' states of the one before.
        _stacks("lstm", "lstm", model__decoder__attention="additive")
        | {"model__encoder__implementation": "cudnn", "model__decoder__implementation": "cudnn"},
        _stacks("lstm", "lstm", model__decoder__attention="none")
        | {"model__decoder__attention_order": "attend_first", "model__decoder__readout": "state"}
        | {"model__decoder__implementation": "cudnn"},
        # The same fields where the family does not use them.
        {"model__encoder__implementation": "cudnn", "model__dtype": "bfloat16"},
        _stacks("lstm", "lstm", model__decoder__attention="additive")
        | {"model__encoder__embedding_width": 7, "model__decoder__embedding_width": 9}
        | {"model__encoder__heads": 5, "model__decoder__heads": 5}
        | {"model__encoder__key_value_heads": 3, "model__decoder__key_value_heads": 3}
        | {"model__encoder__kernel": 4, "model__encoder__positions": "rotary"},
        _stacks("convolutional", "convolutional", model__decoder__attention="general")
        | {"model__encoder__heads": 5, "model__encoder__key_value_heads": 3}
        | {"model__encoder__width": 7, "model__encoder__embedding_width": 8}
        | {"model__decoder__kernel": 4, "model__decoder__bridge": "zeros"}
        | {"model__decoder__readout": "state", "model__decoder__input_feeding": True},
        {"model__encoder__kernel": 4, "model__decoder__bridge": "last"}
        | {"model__decoder__input_feeding": True, "model__decoder__readout": "deep"},
        {"model__decoder__bridge": "zeros", "model__decoder__readout": "state"},
        # Just inside.
        _stacks("lstm", "lstm", model__decoder__attention="none")
        | {"model__decoder__bridge": "zeros", "model__decoder__feed_summary": True},
        _stacks("lstm", "lstm", model__decoder__attention="additive")
        | {"model__decoder__readout": "state"}
        | {"model__decoder__attention_order": "attend_first"},
        _stacks("transformer", "lstm", model__decoder__attention="dot"),
        {"model__decoder__heads": 4, "model__decoder__key_value_heads": 2}
        | {"model__decoder__positions": "rotary"},
    ],
)
def test_what_fits_together_is_accepted(changes):
    validate(_changed(**changes))


def test_types_are_checked_where_a_config_was_set_past_its_own_checks():
    assert (
        _error(_changed(seed=None))
        == "seed = None: expected a whole number; the config leaves it open"
    )
    assert _error(_changed(seed=True)) == "seed = True: expected a whole number"


def test_a_single_value_is_checked_and_taken_as_the_fields_type():
    assert repr(check_value("optimizer.learning_rate", 1)) == "1.0"
    assert check_value("evaluation.metrics", ["bleu"]) == ("bleu",)
    for field, value in (("optimizer.rate", 1), ("seed", 0.5), ("model.encoder.heads", 0)):
        with pytest.raises(UserError, match=field):
            check_value(field, value)


def test_warm_up_is_compared_again_in_steps():
    check_resolved(total=100, warmup=100)
    with pytest.raises(UserError, match="schedule.warmup = 101 steps: expected at most .* 100 st"):
        check_resolved(total=100, warmup=101)
