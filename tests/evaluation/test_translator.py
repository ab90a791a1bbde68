import jax
import numpy as np
import pytest

from seqjax.data.tokenizer import EOS
from seqjax.errors import UserError
from seqjax.evaluation.translator import AdaptiveTranslator, Translation, Translator
from seqjax.parallel.mesh import make_mesh, replicated

TEXTS = ["abc", "", "g", "fedcba gfedcba", "abc", "c d", "gg gg gg", "", "ab", "fa", "cccc"]


def setup(task, tiny_params, devices=1, n_best=1):
    task.config.batching.multiple = 8
    mesh = make_mesh(devices)
    params = jax.device_put(tiny_params(task), replicated(mesh))
    return Translator(task, mesh, n_best), params


def assert_same(left, right):
    assert len(left) == len(right)
    for ours, theirs in zip(left, right, strict=True):
        assert [(t.text, t.length) for t in ours] == [(t.text, t.length) for t in theirs]
        for name in ("score", "log_probability"):
            np.testing.assert_allclose(
                [getattr(t, name) for t in ours], [getattr(t, name) for t in theirs], rtol=1e-4
            )


@pytest.fixture(scope="module")
def expected(tiny_task, tiny_params):
    """Each source translated alone, three hypotheses."""
    task = tiny_task(beam_size=3)
    translator, params = setup(task, tiny_params, n_best=3)
    return [translator(params, [source])[0] for source in task.encode_sources(TEXTS)]


@pytest.mark.parametrize("tokens, shapes, devices", [(16, 2, 1), (4096, 1, 8)])
def test_a_translation_does_not_depend_on_its_company(
    tokens, shapes, devices, expected, tiny_params, tiny_task
):
    task = tiny_task(beam_size=3, tokens=tokens, shapes=shapes)
    translator, params = setup(task, tiny_params, devices, n_best=3)
    found = translator(params, task.encode_sources(TEXTS))
    assert_same(found, expected)
    assert found[0] == found[4] or found[0][0].text == found[4][0].text
    # Otherwise the order of the results could be anything.
    assert len({best[0].text for best in found}) >= 5


def test_what_comes_later_takes_the_shapes_that_are_compiled(expected, tiny_task, tiny_params):
    task = tiny_task(beam_size=3, tokens=64, shapes=2)
    translator, params = setup(task, tiny_params, n_best=3)
    sources = task.encode_sources(TEXTS)
    long = [i for i, text in enumerate(TEXTS) if len(text) > 7]
    short = [i for i, text in enumerate(TEXTS) if len(text) <= 7]
    compiled = []
    for part in (short, long, short[:2], long):
        found = translator(params, [sources[i] for i in part])
        assert_same(found, [expected[i] for i in part])
        compiled.append(translator._search._cache_size())
    assert compiled == [1, 2, 2, 2]


def test_nothing_is_left_to_compile_for_a_clock(tiny_task, tiny_params):
    task = tiny_task(beam_size=3, tokens=64, shapes=2)
    translator, params = setup(task, tiny_params)
    sources = task.encode_sources(TEXTS)
    translator.compile(params, sources)
    compiled = translator._search._cache_size()
    assert compiled
    translator(params, sources)
    assert translator._search._cache_size() == compiled


def test_a_shape_is_compiled_once_and_a_new_one_still_is(tiny_task, tiny_params):
    task = tiny_task(tokens=64, shapes=2)
    translator, params = setup(task, tiny_params)
    search, searched = translator._search, []

    def watched(params, source):
        searched.append(source.shape)
        return search(params, source)

    translator._search = watched
    short, long = task.encode_sources(["abc", "g", "ab"]), task.encode_sources(["gfedcba gfedcba"])
    for sources in (short, short, short + long, long):
        translator.compile(params, sources)
    assert len(searched) == len(set(searched)) == search._cache_size() == 2


def test_hypotheses_are_distinct_best_first_and_as_long_as_they_say(expected, tiny_task):
    task = tiny_task(beam_size=3)
    for text, found in zip(TEXTS, expected, strict=True):
        if not text:
            continue
        assert 1 <= len(found) <= 3
        scores = [translation.score for translation in found]
        assert scores == sorted(scores, reverse=True)
        for translation in found:
            norm = ((5 + translation.length) / 6) ** 0.6
            assert translation.score == pytest.approx(translation.log_probability / norm, rel=1e-4)
            assert 1 <= translation.length <= task.max_output(len(text) + 1)


def test_empty_sources_give_empty_texts_without_a_search(tiny_params, tiny_task):
    task = tiny_task()
    translator, params = setup(task, tiny_params)
    nothing = [Translation("", 0.0, 0.0, ())]
    assert translator(params, []) == []
    assert translator(params, [[EOS], [EOS]]) == [nothing, nothing]
    found = translator(params, [[EOS], [4, EOS], [EOS]])
    assert found[0] == found[2] == nothing
    assert found[1][0].length > 0


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_model_whose_outputs_are_no_numbers_is_reported(beam_size, tiny_params, tiny_task):
    task = tiny_task(beam_size=beam_size)
    translator, params = setup(task, tiny_params)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), params)
    with pytest.raises(UserError, match="the model's outputs are not finite"):
        translator(broken, task.encode_sources(["abc"]))


def test_every_source_has_an_output_even_where_the_limit_is_one_token(tiny_params, tiny_task):
    task = tiny_task(max_length_ratio=0.3, max_length_extra=0)
    translator, params = setup(task, tiny_params)
    found = translator(params, task.encode_sources(["a", "abcdefg"]))
    assert [len(translations) for translations in found] == [1, 1]
    assert (found[0][0].text, found[0][0].length) == ("", 1)
    assert found[0][0].log_probability < 0


def test_calls_of_any_size_find_the_same(expected, tiny_task, tiny_params):
    task = tiny_task(beam_size=3)
    _, params = setup(task, tiny_params)
    translator = AdaptiveTranslator(task, make_mesh(1), n_best=3)
    sources = task.encode_sources(TEXTS)
    for part in ([0], range(4), range(len(TEXTS)), list(range(len(TEXTS))) * 6):
        found = translator(params, [sources[i] for i in part])
        assert_same(found, [expected[i] for i in part])
    assert translator(params, []) == []


def test_who_types_a_sentence_at_a_time_waits_for_one_compilation(tiny_task, tiny_params):
    task = tiny_task(max_length_ratio=0.5, max_length_extra=1)
    _, params = setup(task, tiny_params)
    translator = AdaptiveTranslator(task, make_mesh(1))
    for text in ("a", "abc", "abcdefg abcde", "b", "ab cd"):
        translator(params, task.encode_sources([text]))
    (own,) = translator._translators.values()
    assert own._search._cache_size() == 1
