import jax
import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.data.symbols import Symbols
from seqjax.data.tokenizer import Tokenizers
from seqjax.evaluation.generator import Generator
from seqjax.evaluation.token_scorer import TokenScorer
from seqjax.evaluation.translator import Translator
from seqjax.parallel.mesh import make_mesh
from seqjax.tasks.language_model import LanguageModelling


@pytest.fixture(scope="module")
def model(filled):
    """Returns a function from a family and fields to a language model and its parameters."""

    def make(kind, **fields):
        config = default_config()
        config.task = "language_model"
        config.model.decoder.update(kind=kind, layers=1, width=8, heads=2, feed_forward=12)
        config.batching.update(length=6)
        config.update_from_flattened_dict(fields)
        task = LanguageModelling(config, Tokenizers({"text": Symbols("character", "abcdefg ")}))
        return task, filled(jax.eval_shape(task.init, jax.random.key(0)))

    return make


@pytest.mark.parametrize("plan", ["windows", "buckets"])
@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_scores_are_those_of_each_text_alone(model, kind, plan):
    task, params = model(kind, **{"batching.plan": plan})
    lines = ["abc", "", "gfedcba gfedcba gf", "a"]
    asked = [task.ask(line) for line in lines]
    found = TokenScorer(task, make_mesh(8))(params, asked)
    read = jax.jit(task.model.apply)
    for features, scores in zip(asked, found, strict=True):
        ids = features["text"]
        assert len(scores) == len(ids) - 1
        expected = []
        size = task.context or len(ids)
        for begin in range(0, len(ids) - 1, size):
            block = np.array([ids[begin : begin + size + 1]], np.int32)
            logits, _ = read({"params": params}, block[:, :-1])
            all_of_them = jax.nn.log_softmax(logits)[0]
            expected += [float(all_of_them[t, block[0, t + 1]]) for t in range(block.shape[1] - 1)]
        np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=2e-5)


def test_a_sample_has_the_log_probability_that_it_was_drawn_with(model):
    task, params = model("lstm", **{"batching.plan": "buckets", "decode.max_new_tokens": 8})
    mesh = make_mesh(1, devices=jax.devices()[:1])
    ((sample,),) = Generator(task, mesh)(params, ["ab"])
    prompt = task.prompt("ab")
    (scores,) = TokenScorer(task, mesh)(params, [{"text": [*prompt, *sample.tokens]}])
    total = float(scores[len(prompt) - 1 :].sum())
    assert total == pytest.approx(sample.log_probability, rel=1e-4)


def test_a_translation_has_the_log_probability_that_its_search_found(tiny_task, tiny_params):
    task = tiny_task()
    params, mesh = tiny_params(task), make_mesh(1, devices=jax.devices()[:1])
    sources = task.encode_sources(["abc", "gfedc ba"])
    best = [found[0] for found in Translator(task, mesh)(params, sources)]
    asked = [
        {"source": source, "target": list(translation.tokens)}
        for source, translation in zip(sources, best, strict=True)
    ]
    for scores, translation in zip(TokenScorer(task, mesh)(params, asked), best, strict=True):
        assert len(scores) == translation.length
        assert float(scores.sum()) == pytest.approx(translation.log_probability, rel=1e-4)


def test_a_pair_needs_one_tab(tiny_task):
    for line in ("abc", "a\tb\tc"):
        with pytest.raises(ValueError, match="a source and a target with one tab"):
            tiny_task().ask(line)
    asked = tiny_task().ask("ab\tcde")
    assert [len(ids) for ids in asked.values()] == [3, 4]
