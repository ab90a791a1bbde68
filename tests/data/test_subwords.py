import concurrent.futures
import io
import logging

import pytest
import sentencepiece

from seqjax.data.subwords import Subwords, train_subwords
from seqjax.data.symbols import UNK
from seqjax.errors import UserError

TEXTS = [
    f"{subject} {verb} the {size} {thing}  near the river ."
    for subject in ("a man", "two women", "the neighbour", "somebody")
    for verb in ("watches", "paints", "remembers", "carries")
    for size in ("smaller", "largest", "remarkable")
    for thing in ("houses", "mountains", "instruments", "newspapers")
]
TEXT = "the neighbour  carries remarkable instruments "


@pytest.mark.parametrize(("kind", "sampling"), [("unigram", 0.2), ("bpe", 0.2)])
def test_sampling_is_a_function_of_text_and_seed(kind, sampling):
    subwords = train_subwords(kind, TEXTS, 120, False, sampling)
    seeds = [0, 1, 2, 3, -1, 2**32 - 1, 2**63, *range(100, 130)]
    samples = [subwords.sample(TEXT, seed) for seed in seeds]
    assert len({tuple(sample) for sample in samples}) > len(seeds) // 2
    for sample in samples:
        assert subwords.decode(sample) == TEXT
    assert subwords.encode(TEXT) == subwords.encode(TEXT)
    # Neither order, nor what is drawn between, nor the thread, nor the object matters.
    again = Subwords(kind, subwords.model, False, sampling)
    assert [again.sample(TEXT, seed) for seed in reversed(seeds)] == samples[::-1]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            assert list(threads.map(lambda seed: again.sample(TEXT, seed), seeds)) == samples


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sampling_agrees_with_sentencepiece(kind):
    """Where nothing is left to chance the two are equal."""
    model = train_subwords(kind, TEXTS, 120, False, 0.0).model
    texts = [
        TEXT,
        "  river Ω☃ ☃ \u03a9",
        "x",
        " ",
        "thew neighnews<s></s> paintsments",
        *TEXTS[::7],
    ]
    sharpest = Subwords(kind, model, False, 1e6 if kind == "unigram" else 1e-12)
    for text in texts:
        assert sharpest.sample(text, 5) == sharpest.encode(text)


def test_unigram_splits_as_finely_as_sentencepiece():
    subwords = train_subwords("unigram", TEXTS, 120, False, 0.3)
    reference = sentencepiece.SentencePieceProcessor(model_proto=subwords.model)
    draws = range(1500)
    ours = [len(subwords.sample(TEXT, seed)) for seed in draws]
    theirs = [
        len(reference.encode(TEXT, enable_sampling=True, nbest_size=-1, alpha=0.3)) for _ in draws
    ]
    assert abs(sum(ours) - sum(theirs)) < 0.04 * sum(theirs)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_more_sampling_gives_more_pieces_and_none_the_best(kind):
    model = train_subwords(kind, TEXTS, 120, False, 0.0).model

    def pieces(sampling):
        subwords = Subwords(kind, model, False, sampling)
        return sum(len(subwords.sample(TEXT, seed)) for seed in range(50)) / 50

    subwords = Subwords(kind, model)
    assert all(subwords.sample(TEXT, seed) == subwords.encode(TEXT) for seed in range(5))
    # BPE-dropout splits more the higher it is; unigram gets nearer the best the higher alpha is.
    low, high = (0.9, 0.05) if kind == "unigram" else (0.05, 0.9)
    assert len(subwords.encode(TEXT)) <= pieces(low) < pieces(high)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_small_corpus_gives_what_it_can(kind, caplog):
    with caplog.at_level(logging.WARNING):
        subwords = train_subwords(kind, ["hello world", "a small corpus"] * 3, 5000, False, 0.0)
    assert 18 <= subwords.vocabulary_size < 100
    assert f"{subwords.vocabulary_size} entries" in caplog.text
    assert subwords.decode(subwords.encode("small world")) == "small world"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_training_is_repeatable(kind):
    assert train_subwords(kind, TEXTS, 120, False, 0.0).model == (
        train_subwords(kind, iter(TEXTS), 120, False, 0.0).model
    )


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_vocabulary_of_fewer_entries_than_characters(kind):
    with pytest.raises(UserError, match=r"tokenizer.vocabulary = 10: expected at least 18"):
        train_subwords(kind, ["hello world", "a small corpus"], 10, False, 0.0)
    assert train_subwords(kind, TEXTS, 40, False, 0.0).vocabulary_size == 40


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_nothing_to_train_on(kind, texts):
    with pytest.raises(UserError, match="a training split that is not empty"):
        train_subwords(kind, texts, 100, False, 0.0)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_long_lines_count_too(kind):
    subwords = train_subwords(kind, [*TEXTS, "ж" * 9000], 120, False, 0.0)
    assert subwords.decode(subwords.encode("жж a man")) == "жж a man"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_rare_character_of_a_long_corpus_is_known(kind):
    """SentencePiece skips lines of more than 2^16 bytes: their words count, too."""
    line = " ".join(["naïve"] * 20_000) + " ж"
    subwords = train_subwords(kind, [*TEXTS, line], 120, False, 0.0)
    assert subwords.decode(subwords.encode("ж naïve")) == "ж naïve"
    assert "▁naïve" in subwords.pieces(range(subwords.vocabulary_size))


@pytest.mark.slow
def test_a_character_is_known_however_rare():
    """Of 40 million characters SentencePiece takes a share of one less for all of them."""
    texts = [" ".join(["abababab"] * 800)] * 5700
    subwords = train_subwords("bpe", [*texts, "q"], 120, False, 0.0)
    assert subwords.decode(subwords.encode("q ab")) == "q ab"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_further_characters_are_known(kind):
    subwords = train_subwords(kind, TEXTS, 120, False, 0.0, characters={"ж", " ", "▁"})
    assert subwords.decode(subwords.encode("ж▁ man")) == "ж▁ man"
    with pytest.raises(UserError, match=r"tokenizer.vocabulary = 30: expected at least"):
        train_subwords(kind, TEXTS, 30, False, 0.0, characters=map(chr, range(200, 300)))


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_names_of_special_pieces_are_text(kind):
    texts = ["ab ab abc bca"] * 30 + ["ab <s>Q</s> b"] * 20
    subwords = train_subwords(kind, texts, 60, False, 0.0)
    assert subwords.decode(subwords.encode("ab <s>Q</s> b")) == "ab <s>Q</s> b"
    assert UNK not in subwords.encode("Q</s><<s")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_models_of_earlier_versions_read_as_before(kind):
    """They have SentencePiece's usual names of special pieces, and '▁' was a space in them."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, model_type=kind, vocab_size=120,
        normalization_rule_name="identity", remove_extra_whitespaces=False, unk_surface="<unk>",
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    subwords = Subwords(kind, model.getvalue())
    assert subwords.decode(subwords.encode(TEXT)) == TEXT
    assert subwords.decode(subwords.encode("a▁man")) == "a man"
    assert subwords.pieces([0, 1, 2, 3]) == ["<pad>", "<s>", "</s>", "<unk>"]


def test_lines_inside_a_text():
    subwords = train_subwords("bpe", [*TEXTS, "a man\nwatches"], 120, False, 0.0)
    assert subwords.decode(subwords.encode("two women\npaints\n")) == "two women\npaints\n"
