import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.commands.command_line import main
from seqjax.config import default_config
from seqjax.data.examples import Examples, Sequences
from seqjax.data.gather import gather
from seqjax.data.symbols import Symbols
from seqjax.data.tokenizer import BOS, EOS, PAD, Tokenizers
from seqjax.errors import UserError
from seqjax.tasks.language_model import LanguageModelling
from seqjax.validation import validate

_KINDS = ("elman", "lstm", "gru", "convolutional", "transformer")
_RECURRENT = ("elman", "lstm", "gru")


def _task(plan="windows", kind="transformer", **fields):
    config = default_config()
    config.task = "language_model"
    config.model.decoder.update(kind=kind, layers=2, width=8, heads=2, feed_forward=12, dropout=0.0)
    config.batching.update(plan=plan, length=5, kind="sentences", sentences=3, shapes=2)
    config.update_from_flattened_dict(fields)
    return LanguageModelling(config, Tokenizers({"text": Symbols("character", "abcdefg ")}))


def _examples(*lengths):
    """Documents of different tokens from 4 on, each with EOS."""
    rows = [[*(4 + np.arange(n - 1) % 8).tolist(), EOS] for n in lengths]
    report = {"long_cut": 0}
    return Examples({"text": Sequences.of(rows)}, np.arange(len(rows)), report)


def _read(batch):
    """Returns the tokens of a batch that are predicted and counted, in order."""
    found = []
    for row, text in enumerate(batch["text"]):
        first = batch["unscored"][row] if "unscored" in batch else 0
        counted = text[1:] != PAD
        if "segment" in batch:
            counted &= np.diff(batch["segment"][row]) == 0
        found += text[1:][counted][first:].tolist()
    return found


@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize(
    ("plan", "stride"),
    [
        ("windows", 0),
        ("windows", 1),
        ("windows", 2),
        ("windows", 5),
        ("streams", 0),
        ("buckets", 0),
        ("packs", 0),
    ],
)
def test_every_token_is_scored_exactly_once(plan, stride, multiple):
    kind = "transformer" if plan == "packs" else "gru"
    task = _task(plan, kind, **{"evaluation.stride": stride, "decode.tokens": 20})
    examples = _examples(4, 9, 1, 13, 2)
    batches = task.evaluation_plan(examples, count=4, row_multiple=multiple)
    scored = [token for planned in batches for token in _read(gather(examples, planned))]
    expected = examples.features["text"].tokens[: 4 + 9 + 1 + 13].tolist()
    assert sorted(scored) == sorted(expected)
    assert scored == expected or plan in ("buckets", "packs")
    if multiple > 1:
        return
    sums, carry = {}, None
    params = jax.jit(task.init)(jax.random.key(0))
    score = jax.jit(task.score)
    for planned in batches:
        carry = task.carry(planned.shape.rows) if carry is None else carry
        found, carry = score(params, gather(examples, planned), carry)
        sums = {name: sums.get(name, 0) + float(jnp.sum(found[name])) for name in found}
    assert sums["tokens"] == len(expected)


@pytest.mark.parametrize("kind", _RECURRENT)
def test_a_stream_is_one_long_sequence(kind):
    """Scores of its blocks, with the state carried, are those of one row of all tokens."""
    task, examples = _task("streams", kind), _examples(17, 6)
    params = jax.jit(task.init)(jax.random.key(1))
    total, carry, score = 0.0, task.carry(1), jax.jit(task.score)
    for planned in task.evaluation_plan(examples, count=2, row_multiple=1):
        sums, carry = score(params, gather(examples, planned), carry)
        total += float(jnp.sum(sums["nll"]))
    tokens = np.concatenate([[BOS], examples.features["text"].tokens])[None]
    whole, _ = jax.jit(_task("windows", kind).score)(params, {"text": jnp.asarray(tokens)}, ())
    np.testing.assert_allclose(total, float(whole["nll"][0]), rtol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi"])
def test_packed_documents_are_scored_as_alone(positions):
    fields = {"model.decoder.positions": positions, "batching.length": 12}
    fields |= {"batching.shapes": 1, "model.decoder.layers": 1}
    examples, totals, rows = _examples(4, 9, 1, 12, 2), [], []
    for plan in ("packs", "buckets"):
        task = _task(plan, **fields)
        params = jax.jit(task.init)(jax.random.key(1))
        learn = jax.jit(
            lambda params, batch, task=task: task.loss(params, batch, jax.random.key(2))
        )
        if positions == "learned":
            learn = jax.jit(jax.value_and_grad(learn, has_aux=True))
        planned = task.plan(examples, seed=0)
        batches = [planned.batch(step) for step in range(planned.steps_per_epoch)]
        rows.append(sum(int((batch.rows >= 0).sum()) for batch in batches))
        found = [learn(params, gather(examples, batch)) for batch in batches]
        totals.append(jax.tree.map(lambda *parts: sum(parts), *found))
    assert rows[0] < rows[1] == 5
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5), *totals)


def test_a_cache_is_carried_from_block_to_block():
    fields = {
        "evaluation.cache": 6,
        "evaluation.cache_share": 0.4,
        "evaluation.cache_flatness": 2.0,
    }
    examples, found = _examples(17, 6), {}
    for length in (5, 23):
        task = _task("streams", "gru", **fields, **{"batching.length": length})
        params, score = jax.jit(task.init)(jax.random.key(1)), jax.jit(task.score)
        carry, sums = task.scoring_carry(1), []
        for planned in task.evaluation_plan(examples, count=2, row_multiple=1):
            scores, carry = score(params, gather(examples, planned), carry)
            sums.append([float(jnp.sum(scores[name])) for name in ("nll", "tokens", "correct")])
        found[length] = np.sum(sums, axis=0)
    np.testing.assert_allclose(found[5], found[23], rtol=1e-5)
    assert found[5][1] == 23
    # The cache has an effect, and none where nothing carries it.
    plain, _ = jax.jit(task.score)(params, gather(examples, planned), task.carry(1))
    assert abs(found[23][0] - float(jnp.sum(plain["nll"]))) > 1


@pytest.mark.parametrize("kind", _KINDS)
def test_the_objective_is_the_cross_entropy_of_the_next_token(kind):
    task = _task(kind=kind, **{"loss.label_smoothing": 0.0})
    params = jax.jit(task.init)(jax.random.key(0))
    text = jnp.asarray([[BOS, 5, 6, 7, EOS], [BOS, 8, EOS, PAD, PAD]])
    objective, (sums, carry) = jax.jit(task.loss)(params, {"text": text}, jax.random.key(2))
    scores, _ = jax.jit(task.score)(params, {"text": text})
    assert carry == () and float(sums["tokens"]) == 6
    assert float(sums["loss"]) == pytest.approx(float(objective), rel=1e-6)
    assert float(jnp.sum(scores["nll"])) == pytest.approx(float(objective), rel=1e-5)
    logits, _ = jax.jit(task.model.apply)({"params": params}, text[:, :-1])
    expected = -jax.nn.log_softmax(logits)
    by_hand = sum(expected[0, t, text[0, t + 1]] for t in range(4))
    by_hand += sum(expected[1, t, text[1, t + 1]] for t in range(2))
    assert float(objective) == pytest.approx(float(by_hand), rel=1e-5)


@pytest.mark.parametrize("inputs", [False, True])
def test_an_adaptive_softmax_minimizes_what_it_scores(inputs):
    """Its objective is computed without the distribution, its scores with it."""
    fields = {"model.adaptive_cutoffs": "5,8", "model.adaptive_factor": 2}
    fields |= {"model.adaptive_inputs": inputs, "model.tie_output": inputs}
    task = _task(kind="gru", **fields, **{"loss.label_smoothing": 0.0})
    params = jax.jit(task.init)(jax.random.key(0))
    text = jnp.asarray([[BOS, 5, 9, 7, EOS], [BOS, 10, EOS, PAD, PAD]])
    objective, (sums, _) = jax.jit(task.loss)(params, {"text": text}, jax.random.key(2))
    scores, _ = jax.jit(task.score)(params, {"text": text})
    assert float(sums["loss"]) == float(objective)
    assert float(jnp.sum(scores["nll"])) == pytest.approx(float(objective), rel=1e-5)
    found = jax.jit(task.log_probabilities)(params, {"text": text})
    assert float(-jnp.sum(found)) == pytest.approx(float(objective), rel=1e-5)


def test_clusters_beyond_a_vocabulary_that_came_out_small_are_refused():
    message = "model.adaptive_cutoffs = '5,12': expected ids below 12, the size of the vocabulary"
    with pytest.raises(UserError, match=message):
        _task(**{"model.adaptive_cutoffs": "5,12"})


def test_a_text_that_is_too_short_for_windows_is_refused():
    with pytest.raises(UserError, match="batching.length = 5: expected at most 4, half of the 9"):
        _task().plan(_examples(9), seed=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"batching.plan": "streams"},
            "batching.plan = 'streams': expected 'windows' or 'buckets'",
        ),
        (
            {"batching.plan": "packs", "model.decoder.kind": "gru"},
            "batching.plan = 'packs': expected 'windows', 'streams' or 'buckets'",
        ),
        (
            {"tokenizer.sampling": 0.1},
            "tokenizer.sampling = 0.1: expected 0, or batching.plan = 'buckets'",
        ),
        (
            {"model.decoder.past_attention": "dot"},
            "past_attention = 'dot': expected 'none', since model.decoder.kind = 'transformer'",
        ),
        (
            {
                "model.decoder.kind": "lstm",
                "model.decoder.past_attention": "dot",
                "model.decoder.readout": "state",
            },
            "model.decoder.readout = 'state': expected 'attentional' or 'deep'",
        ),
        ({"model.decoder.prefix_lm": True}, "model.decoder.prefix_lm = True: expected False"),
        ({"decode.method": "beam"}, "decode.method = 'beam': expected 'sample'"),
        ({"data.corpus": "synthetic:translation"}, "data.corpus = 'synthetic:translation'"),
        ({"data.split_by": "source", "data.files": "a.txt"}, "data.split_by = 'source'"),
        ({"data.split_by": "line", "data.files": "a", "data.documents": "file"}, "'order'"),
        ({"evaluation.stride": 200}, "at most batching.length = 128"),
        ({"evaluation.cache": 9}, "evaluation.cache = 9: expected 0, or batching.plan = 'streams'"),
        ({"checkpoint.best_metric": "bleu"}, "expected one of 'loss', 'perplexity'"),
        (
            {"model.decoder.positions": "learned", "batching.length": 1000},
            "model.decoder.max_positions = 512: expected at least batching.length = 1000",
        ),
    ],
)
def test_what_does_not_fit_a_language_model_is_refused(fields, message):
    config = default_config()
    config.update(task="language_model")
    config.data.update(corpus="text", directory="folder", files="{split}.txt")
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=message):
        validate(config)


def test_the_fields_of_a_source_have_no_effect():
    config = default_config()
    config.update(task="language_model")
    config.data.update(corpus="text", directory="folder", files="{split}.txt")
    config.model.encoder.update(width=7, heads=3)
    config.model.decoder.update(kind="gru", attention="general", input_feeding=True)
    config.tokenizer.joint = False
    validate(config)
    LanguageModelling(config, Tokenizers({"text": Symbols("character", "ab")}))


_TEXT = "the cat sat on the mat and the dog sat on the log.\n" * 12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "all.txt").write_text(_TEXT)
    return folder


@pytest.fixture
def train(corpus, tiny, tmp_path):
    """Returns a function that trains a small language model in a folder of the test."""

    def run(name, **fields):
        own = {
            "task": "language_model",
            "data.corpus": "text",
            "data.directory": corpus,
            "data.files": "all.txt",
            "data.documents": "file",
            "data.split_by": "order",
            "data.validation_share": 0.2,
            "tokenizer.kind": "character",
            "batching.plan": "streams",
            "batching.length": 7,
            "batching.sentences": 4,
            "model.decoder.kind": "lstm",
            "evaluation.limit": -1,
            **fields,
        }
        folder = tmp_path / name
        options = tiny({path: value for path, value in own.items()})
        assert main(["train", f"--workdir={folder}", f"--config={_BASE}", *options]) == 0
        return folder

    return run


_BASE = None


@pytest.fixture(autouse=True, scope="module")
def _base(tmp_path_factory):
    global _BASE
    _BASE = tmp_path_factory.mktemp("config") / "base.py"
    _BASE.write_text("from seqjax.config import default_config as get_config\n")


@pytest.mark.slow
def test_a_resumed_stream_goes_on_bit_for_bit_with_its_carry(train, saved):
    whole = train("whole", **{"train.duration": 9})
    train("parts", **{"train.duration": 6})
    parts = train("parts", **{"train.duration": 9})
    arrays = saved(whole, 9)
    assert any(name.startswith("carry") for name in arrays)
    assert any(np.frombuffer(data, np.float32).any() for name, (_, _, data) in arrays.items())
    assert saved(parts, 9) == arrays


@pytest.mark.slow
@pytest.mark.parametrize("kind", _KINDS)
def test_every_family_learns_a_text_by_heart(train, reported, kind):
    plan = "streams" if kind in _RECURRENT else "windows"
    fields = {
        "model.decoder.kind": kind,
        "batching.plan": plan,
        "model.decoder.width": 32,
        "model.decoder.dropout": 0.0,
        "loss.label_smoothing": 0.0,
        "optimizer.learning_rate": 0.02,
        "train.duration": 90,
        "evaluation.every": 90,
        "checkpoint.every": 0,
        "batching.length": 20,
    }
    losses = [
        e["validation/loss"] for e in reported(train(kind, **fields)) if "validation/loss" in e
    ]
    assert losses[-1] < 1.0
