"""What seqjax means by words of which other toolkits mean something else: docs/CONVENTIONS.md.

Each test stands in a row of the table there. Figures of other tools in it were printed by them.
"""

import collections
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.architectures.contract import Carry
from seqjax.config import default_config
from seqjax.data.subword_sampling import BpeDropout
from seqjax.data.symbols import BOS, EOS, PAD, UNK, Bytes
from seqjax.data.tokenizer import Tokenizers
from seqjax.layers.cross_entropy import cross_entropy
from seqjax.layers.embedding import Embedding
from seqjax.layers.feed_forward import ACTIVATIONS
from seqjax.layers.masked_softmax import masked_softmax
from seqjax.layers.normalization import NORMS
from seqjax.layers.positions import sinusoids, turn
from seqjax.layers.recurrent import RecurrentLayer, gru, lstm
from seqjax.measures.likelihood import likelihood_metrics
from seqjax.measures.translation import translation_metrics
from seqjax.search.beam import beam_search
from seqjax.search.filters import Filters, apply_filters, repetition_penalty
from seqjax.search.sampling import sample_keys, sample_sequences
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.optimizers import learning_rate, make_optimizer
from seqjax.training.state import TrainState
from seqjax.training.step import train_step_of

# Of PAD, BOS, EOS, UNK, a and b, whatever came before.
PROBABILITIES = [0.02, 0.03, 0.25, 0.1, 0.4, 0.2]
A, END = math.log(0.4), math.log(0.25)


def search(limit=6, **options):
    """Returns the outputs of a model of `PROBABILITIES`, each its tokens and its score."""

    def step(carry, tokens_BxK):
        logits = jnp.log(jnp.asarray(PROBABILITIES))
        return carry, jnp.broadcast_to(logits, (*tokens_BxK.shape, len(PROBABILITIES)))

    options = {"beam_size": 3, "n_best": 3, "unknown": False, "patience": 1.0, **options}
    carry = Carry(fixed={}, moving=jnp.zeros((1, options["beam_size"])), position=jnp.int32(0))
    limits = jnp.asarray([limit])
    found = jax.jit(lambda: beam_search(step, carry, limits, max_length=limit, **options))()
    rows = zip(found.tokens[0].tolist(), found.lengths[0].tolist(), strict=True)
    outputs = ["".join("pseuab"[i] for i in row[:length]) for row, length in rows]
    return dict(zip(outputs, found.scores[0].tolist(), strict=True))


def test_every_row_of_the_document_is_held_by_a_test_and_every_test_has_a_row():
    text = (Path(__file__).parents[1] / "docs" / "CONVENTIONS.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| `(test_\w+)` \|$", text, flags=re.MULTILINE)
    tests = [name for name in globals() if name.startswith("test_")]
    tests.remove("test_every_row_of_the_document_is_held_by_a_test_and_every_test_has_a_row")
    assert sorted(rows) == sorted(tests)


def test_score_divisor():
    found = search(normalization="plain", penalty=1.0)
    assert found["aae"] == pytest.approx((2 * A + END) / 3)
    assert found["ae"] == pytest.approx((A + END) / 2)


def test_length_penalty():
    found = search(normalization="gnmt", penalty=0.6)
    assert found["ae"] == pytest.approx((A + END) / ((5 + 2) / 6) ** 0.6)
    decode = default_config().decode
    assert (decode.length_normalization, decode.length_penalty) == ("gnmt", 0.6)


def test_forbidden_tokens():
    # CTranslate2 gives log(.25 / .6) = -0.8755 once a token of probability .4 is forbidden.
    assert search(normalization="none", unknown=False)["e"] == pytest.approx(END)
    assert search(normalization="none", min_length=1)["ae"] == pytest.approx(A + END)


def test_shortest_output():
    assert next(iter(search(normalization="none"))) == "e"
    assert default_config().decode.min_length == 0


def test_longest_output():
    found = search(limit=2, normalization="plain", penalty=1.0)
    assert set(found) == {"e", "ae", "be"}
    assert found["ae"] == pytest.approx((A + END) / 2)


def test_end_of_a_beam_search():
    assert default_config().decode.patience == 1.0
    # Three have finished, though 'aaaaae', at the limit, would be better by this score.
    assert "aaaaae" not in search(normalization="plain", penalty=1.0)
    assert "aaaaae" in search(normalization="plain", penalty=1.0, patience=0.0)


def kept(shares, **numbers):
    """Returns which tokens filters keep."""
    return jnp.isfinite(apply_filters(jnp.log(jnp.asarray(shares)), Filters(**numbers))).tolist()


def test_order_of_filters():
    shares = [0.4, 0.3, 0.2, 0.1]
    assert kept(shares, temperature=2.0, top_p=0.65) == [True, True, True, False]
    # With the temperature at the end.
    assert kept(shares, top_p=0.65) == [True, True, False, False]
    # Each share is one of what top-k left: 0.57 and 0.43.
    assert kept(shares, top_k=2, top_p=0.5) == [True, False, False, False]


def test_ties_in_filters():
    equal = [0.2] * 5
    assert kept(equal, top_k=3) == [True, True, True, False, False]
    assert kept(equal, top_p=0.5) == [True, True, True, False, False]
    assert kept(equal, typical_p=0.5) == [True, True, True, False, False]
    assert kept(equal, min_p=1.0) == [True] * 5


def test_seed_of_a_sample():
    def draws(prompts):
        def step(carry, tokens_BxN):
            logits = jnp.log(jnp.asarray(PROBABILITIES))
            return carry, jnp.broadcast_to(logits, (*tokens_BxN.shape, len(PROBABILITIES)))

        keys = sample_keys(3, jnp.asarray(prompts), 1)
        limits = jnp.full(len(prompts), 9)
        return sample_sequences(step, None, limits, keys, max_length=9).tokens[:, 0].tolist()

    (alone,), together = draws([[4, 5]]), draws([[5, 4], [4, 5]])
    assert together[1] == alone
    assert together[0] != alone


def test_repetition_penalty():
    # As in transformers: of logits 2 and -2, both seen, 2 / 2 and -2 * 2.
    found = repetition_penalty(jnp.asarray([2.0, -2.0, 2.0]), 2.0, jnp.asarray([True, True, False]))
    assert found.tolist() == [1.0, -4.0, 2.0]


def test_defaults_of_sampling():
    decode = default_config().decode
    assert Filters(*(decode[name] for name in Filters._fields)) == Filters()
    assert decode.method == ""


def test_label_smoothing():
    logits = jnp.asarray([[1.0, 2.0, 3.0, 0.0]])
    # Those of torch, optax and transformers; fairseq and Joey NMT have others.
    assert float(cross_entropy(logits, jnp.asarray([2]), 0.1)[0]) == pytest.approx(0.590190, 1e-5)


def test_perplexity():
    """exp of nats a token, without smoothing."""
    logits = jnp.zeros((1, 2, 4))
    nats = cross_entropy(logits, jnp.asarray([[3, EOS]])).sum() / 2
    assert math.exp(nats) == pytest.approx(4.0)


def test_gradient_divisor():
    """The tokens of the batch: a sentence weighs as much as it is long."""

    def loss(params, batch, key, carry):
        total = jnp.sum(params["w"] * batch["x"])
        return total, ({"loss": total, "tokens": jnp.float32(batch["x"].size)}, carry)

    step = train_step_of(loss, optax.sgd(1.0), jax.random.key(0))
    params = {"w": jnp.zeros(())}
    state = TrainState(jnp.int32(0), params, optax.sgd(1.0).init(params))
    new, _ = step(state, {"x": jnp.asarray([[1.0, 3.0, 5.0], [2.0, 2.0, 5.0]])})
    assert float(new.params["w"]) == pytest.approx(-3.0)


def test_clipping():
    optimizer = default_config().optimizer
    optimizer.update(kind="sgd", momentum=0.0, clip=2.5e-6)
    chain = make_optimizer(optimizer, optax.constant_schedule(1.0))
    gradient = {"w": jnp.asarray([3e-6, 4e-6])}
    updates, _ = chain.update(gradient, chain.init(gradient), gradient)
    # Half of it; torch's comes to (1.25e-6, 1.67e-6).
    np.testing.assert_allclose(-updates["w"], [1.5e-6, 2e-6], rtol=1e-5)


def test_adam_epsilon():
    optimizer = default_config().optimizer
    optimizer.update(epsilon=1e-3, clip=0.0)
    chain = make_optimizer(optimizer, optax.constant_schedule(1.0))
    gradient = {"w": jnp.asarray([1e-3])}
    updates, _ = chain.update(gradient, chain.init(gradient), gradient)
    # g / (|g| + epsilon), however much beta2 holds back.
    np.testing.assert_allclose(-updates["w"], [0.5], rtol=1e-4)


def test_warm_up():
    schedule = default_config().schedule
    rate = learning_rate(1.0, schedule, 4, 100)
    rates = [float(rate(update)) for update in range(6)]
    expected = [0.25, 0.5, 0.75, 1.0, math.sqrt(4 / 5), math.sqrt(4 / 6)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_weight_decay():
    optimizer = default_config().optimizer
    optimizer.update(kind="adamw", weight_decay=0.1, clip=0.0)
    chain = make_optimizer(optimizer, optax.constant_schedule(0.5))
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    still = jax.tree.map(jnp.zeros_like, params)
    updates, _ = chain.update(still, chain.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05 * np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], np.zeros(2))


def test_special_tokens():
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)


def test_sinusoids():
    expected = [
        [0, 0, 1, 1],
        [math.sin(1), math.sin(1e-4), math.cos(1), math.cos(1e-4)],
    ]
    np.testing.assert_allclose(sinusoids(2, 4), expected, atol=1e-6)


def test_rotary_pairs():
    x = jnp.asarray([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    turned = turn(x, jnp.asarray([[math.pi / 2, 0.0]])).ravel()
    np.testing.assert_allclose(turned, [0, 0, 1, 0], atol=1e-6)


def test_epsilon_of_normalization():
    x = jnp.asarray([[1e-3, -1e-3]])
    layer = NORMS["layer"](jnp.float32).apply(
        {"params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)}}, x
    )
    np.testing.assert_allclose(layer[0, 0], 1e-3 / math.sqrt(1e-6 + 1e-5), rtol=1e-4)
    rms = NORMS["rms"](jnp.float32).apply({"params": {"scale": jnp.ones(2)}}, x)
    np.testing.assert_allclose(rms[0, 0], 1e-3 / math.sqrt(1e-6 + 1e-6), rtol=1e-4)


def test_gelu():
    # The approximation by tanh, which jax.nn and flax take by default, gives 0.841192.
    assert float(ACTIVATIONS["gelu"][0](1.0)) == pytest.approx(0.841345, abs=2e-6)


def test_masks():
    weights = masked_softmax(jnp.zeros(2), jnp.asarray([True, False]), jnp.float32)
    assert weights.tolist() == [1.0, 0.0]


def test_embedding_scale():
    layer = Embedding(5, 4)
    found = layer.apply({"params": {"table": jnp.ones((5, 4))}}, jnp.asarray([PAD, 4]))
    # The row of PAD is one like the others.
    assert found.tolist() == [[2.0] * 4] * 2


def test_dropout():
    encoder = default_config().model.encoder
    rates = encoder.dropout, encoder.attention_dropout, encoder.activation_dropout
    assert rates == (0.1, 0.0, 0.0)


def test_order_of_normalization():
    assert default_config().model.encoder.normalization == "pre"


def test_lstm_gates():
    """i, f, g, o: what keeps the cell is the second block."""
    gates = jnp.asarray([[-20.0, 20.0, 1.0, 20.0]])
    _, cell = lstm(gates, jnp.zeros((1, 4)), (jnp.zeros((1, 1)), jnp.full((1, 1), 0.5)))
    assert float(cell[0, 0]) == pytest.approx(0.5)


def test_gru_gates():
    """r, z, n: an open z keeps; a shut r takes U h and its bias away."""
    state = (jnp.full((1, 1), 0.5),)
    (kept,) = gru(jnp.asarray([[0.0, 20.0, 1.0]]), jnp.zeros((1, 3)), state)
    assert float(kept[0, 0]) == pytest.approx(0.5)
    (new,) = gru(jnp.asarray([[-20.0, -20.0, 1.0]]), jnp.asarray([[0.0, 0.0, 9.0]]), state)
    assert float(new[0, 0]) == pytest.approx(math.tanh(1))


def test_forget_bias():
    x, mask = jnp.zeros((1, 1, 2)), jnp.ones((1, 1), bool)
    bias = RecurrentLayer(3, "lstm").init(jax.random.key(0), x, mask)["params"]["inputs"]["bias"]
    assert bias.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 6


def test_bpe_dropout():
    """Of abcd, with the merges ab and cd, each skipped one time in two at every step.

    SentencePiece 0.2.3 gives each of the four a quarter.
    """
    scores = {"▁": (4, -9.0), "a": (5, -9.0), "b": (6, -9.0), "c": (7, -9.0), "d": (8, -9.0)}
    pieces = [*scores, "ab", "cd"]
    sampler = BpeDropout(scores | {"ab": (9, -1.0), "cd": (10, -2.0)}, 0.5)
    count = 10_000
    found = collections.Counter(
        " ".join(pieces[i - 4] for i in sampler.sample("abcd", seed)) for seed in range(count)
    )
    expected = {"▁ ab cd": 3, "▁ a b cd": 1, "▁ ab c d": 2, "▁ a b c d": 2}
    assert found.keys() == expected.keys()
    for segmentation, eighths in expected.items():
        # Five standard deviations.
        assert found[segmentation] / count == pytest.approx(eighths / 8, abs=0.025)


def test_seed_of_a_segmentation():
    scores = {"▁": (4, -9.0), "a": (5, -9.0), "b": (6, -9.0), "ab": (7, -1.0)}
    lengths = [len(BpeDropout(scores, 0.5).sample("ab", seed)) for seed in range(8)]
    # A golden, the same in every process.
    assert lengths == [2, 3, 2, 3, 3, 2, 2, 3]


def scores(hypothesis, reference, *metrics, lowercase=False, tokenize="13a"):
    found = translation_metrics([hypothesis], [reference], metrics, lowercase, tokenize)
    return [found[metric] for metric in metrics]


def test_case():
    pair = "The CAT sat on the mat .", "The cat sat on the mat ."
    cased = scores(*pair, "bleu", "chrf", "ter", "error_rate")
    assert cased[0] < 100 and cased[1] < 100
    assert cased[2:] == pytest.approx([100 / 7, 100 / 7])
    lower = scores(*pair, "bleu", "chrf", "ter", "error_rate", lowercase=True)
    assert lower == pytest.approx([100, 100, 0, 0])


def test_entities():
    pair = "He said &quot; a b c d &quot; .", 'He said " a b c d " .'
    assert scores(*pair, "bleu", "chrf", "ter") == pytest.approx([100, 39.7275, 22.2222], abs=1e-3)
    assert scores(*pair, "bleu", tokenize="intl") == pytest.approx([23.9011], abs=1e-3)


def test_normalized_references():
    config = default_config()
    config.evaluation.metrics = ("bleu", "error_rate")
    hypothesis, texts = "the first of five", {"target": ["the ﬁrst of ﬁve"]}
    found = {}
    for name in ("none", "NFC", "NFKC"):
        tokenizers = Tokenizers(dict.fromkeys(("source", "target"), Bytes(normalization=name)))
        sums = {"nll": 1.0, "tokens": 1.0, "correct": 1.0}
        metrics = TextToText(config, tokenizers).measure(sums, texts, [hypothesis])
        found[name] = metrics["error_rate"]
    assert found == {"none": 50.0, "NFC": 50.0, "NFKC": 0.0}


def test_bleu_of_short_texts():
    assert scores("a b c", "a b d", "bleu") == [0.0]


def test_chrf():
    found = scores("the cat sat here", "the cat is here", "chrf")
    # chrF++, torchmetrics' default, gives 51.33, and NLTK's, with beta 3, 50.85.
    assert found == pytest.approx([50.3640], abs=1e-3)


def test_empty_reference():
    assert scores("a b", "", "error_rate", "ter", "chrf", "bleu") == [200.0, 100.0, 0.0, 0.0]
    assert scores("", "", "error_rate", "exact_match") == [0.0, 100.0]


def test_white_space_in_word_errors():
    assert scores("a\tb", "a  b", "error_rate") == [0.0]


def test_mean_of_error_rates():
    """Edits of all sentences over words of all references, not a mean of rates: 2 / 5."""
    found = translation_metrics(["a b c d", "x y"], ["a b c d", "e"], ["error_rate"], False, "13a")
    assert found["error_rate"] == pytest.approx(40.0)


def test_likelihood_of_text():
    # lm-eval's word perplexity would be exp(8 / 3) with this line end, and exp(8 / 2) without.
    found = likelihood_metrics(8.0, 5, ["a b\n", "c"])
    assert found["word_perplexity"] == pytest.approx(math.exp(8 / (3 + 2)))
    assert found["bits_per_byte"] == pytest.approx(8 / math.log(2) / (5 + 2))
