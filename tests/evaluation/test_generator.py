import jax
import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.data.symbols import Symbols, train_symbols
from seqjax.data.tokenizer import BOS, EOS, Tokenizers
from seqjax.evaluation.generator import Generator
from seqjax.parallel.mesh import make_mesh
from seqjax.tasks.language_model import LanguageModelling


@pytest.fixture(scope="module")
def model(filled):
    """Returns a function from fields to a task and parameters that say many different things."""

    def make(kind="gru", **fields):
        config = default_config()
        config.task = "language_model"
        config.model.decoder.update(kind=kind, layers=1, width=8, heads=2, feed_forward=12)
        config.batching.update(length=8)
        config.decode.max_new_tokens = 12
        config.update_from_flattened_dict(fields)
        task = LanguageModelling(config, Tokenizers({"text": Symbols("character", "abcdefg ")}))
        return task, filled(jax.eval_shape(task.init, jax.random.key(0)))

    return make


_PROMPTS = ["a", "bcd efg", "", "fedcba gfedcba"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["gru", pytest.param("convolutional", marks=pytest.mark.thorough), "transformer"],
)
def test_a_continuation_does_not_depend_on_company(model, kind):
    task, params = model(kind)
    mesh = make_mesh(1, devices=jax.devices()[:1])
    together = Generator(task, mesh, samples=3)(params, _PROMPTS)
    for prompt, found in zip(_PROMPTS, together, strict=True):
        (alone,) = Generator(task, mesh, samples=3)(params, [prompt])
        assert [c.tokens for c in alone] == [c.tokens for c in found]
        assert len({c.tokens for c in found}) > 1
    eight = Generator(task, make_mesh(8), samples=3)(params, _PROMPTS)
    assert [[c.tokens for c in found] for found in eight] == [
        [c.tokens for c in found] for found in together
    ]
    fewer = Generator(task, mesh, samples=2)(params, _PROMPTS)
    assert [[c.tokens for c in found] for found in fewer] == [
        [c.tokens for c in found[:2]] for found in together
    ]


def test_another_seed_says_something_else(model):
    task, params = model()
    mesh = make_mesh(1, devices=jax.devices()[:1])
    (first,) = Generator(task, mesh, samples=8)(params, ["abc"])
    task.config.decode.seed = 1
    (second,) = Generator(task, mesh, samples=8)(params, ["abc"])
    assert [c.tokens for c in first] != [c.tokens for c in second]


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_log_probabilities_are_those_of_the_model(model, kind):
    """Teacher forcing of prompt and continuation gives what sampling says."""
    task, params = model(kind, **{"batching.plan": "buckets"})
    ((found,),) = Generator(task, make_mesh(1, devices=jax.devices()[:1]))(params, ["abc"])
    prompt = task.prompt("abc")
    row = np.array([[*prompt, *found.tokens]], np.int32)
    logits, _ = jax.jit(task.model.apply)({"params": params}, row[:, :-1])
    log_probabilities = jax.nn.log_softmax(logits)[0]
    places = range(len(prompt) - 1, row.shape[1] - 1)
    expected = sum(float(log_probabilities[t, row[0, t + 1]]) for t in places)
    assert found.log_probability == pytest.approx(expected, rel=1e-4)


def test_a_bounded_context_goes_on_from_its_last_half(model):
    task, params = model("transformer", **{"decode.max_new_tokens": 30, "decode.temperature": 0.0})
    mesh = make_mesh(1, devices=jax.devices()[:1])
    assert task.context == 8
    ((found,),) = Generator(task, mesh)(params, ["abcdefg abc"])
    known = task.prompt("abcdefg abc")[-4:]
    read = jax.jit(task.model.apply)
    for token in found.tokens:
        if len(known) >= 8:
            known = known[-4:]
        logits, _ = read({"params": params}, np.array([known], np.int32))
        allowed = np.asarray(logits[0, -1]).copy()
        allowed[[0, BOS, 3]] = -np.inf
        assert token == int(np.argmax(allowed))
        known.append(token)


def test_stop_strings_end_a_continuation_and_are_left_out(model):
    task, params = model(**{"decode.max_new_tokens": 60, "decode.min_length": 20})
    mesh = make_mesh(1, devices=jax.devices()[:1])
    ((free,),) = Generator(task, mesh)(params, ["abc"])
    task.config.decode.stop = (free.text[3:5],)
    ((cut,),) = Generator(task, mesh)(params, ["abc"])
    assert cut.text == free.text[: free.text.index(free.text[3:5])]
    assert cut.reason == "stop"
    task.config.decode.update(stop=(), max_new_tokens=3)
    ((short,),) = Generator(task, mesh)(params, ["abc"])
    assert short.reason == "length" and short.tokens == free.tokens[:3]


def test_prompts_begin_as_the_plan_has_trained_them(model):
    assert model(**{"batching.plan": "buckets"})[0].prompt("ab")[0] == BOS
    streams = {"batching.plan": "streams", "data.corpus": "text"}
    assert model(**streams, **{"data.documents": "line"})[0].prompt("ab")[0] == EOS
    of_one = model(**streams, **{"data.documents": "file"})[0]
    assert len(of_one.prompt("ab")) == 2 and of_one.prompt("") == [EOS]


@pytest.mark.parametrize(
    ("kind", "devices", "fields"),
    [("lstm", 1, {"decode.stop": ("a",), "decode.min_length": 4}), ("transformer", 2, {})],
)
def test_a_stream_is_the_first_continuation_in_parts(model, kind, devices, fields):
    task, params = model(kind, **{"decode.max_new_tokens": 20, **fields})
    generator = Generator(task, make_mesh(devices, devices=jax.devices()[:devices]))
    ((found,),) = generator(params, ["abc"])
    parts = list(generator.stream(params, "abc"))
    assert "".join(parts) == found.text != ""
    assert len(parts) >= len(found.text) / 3


def test_the_space_between_a_prompt_and_its_continuation_is_kept(model):
    task, _ = model()
    words = train_symbols("word", ["the cat sat, then"], 50, 1, False)
    task.tokenizers = Tokenizers({"text": words})
    assert task.continuation("the", words.encode("cat sat, then")) == " cat sat, then"
    assert task.continuation("the cat", words.encode(", then")[1:]) == " then"
    assert task.continuation("", words.encode("cat")) == "cat"


@pytest.mark.slow
def test_the_shortest_continuation_holds_over_all_windows(model):
    fields = {"decode.max_new_tokens": 40, "decode.min_length": 14, "decode.temperature": 3.0}
    task, params = model("transformer", **fields)
    generator = Generator(task, make_mesh(1, devices=jax.devices()[:1]), samples=40)
    (found,) = generator(params, ["abc"])
    lengths = [len(c.tokens) for c in found]
    assert min(lengths) > 14
    # Later windows do not forbid the end again.
    assert len(set(lengths)) > 5 and 15 in lengths
