"""Tests of the embedded translation corpus: its splits, its sizes and its promises."""

import hashlib
import re

import pytest

from seqjax.data.grammar import lexicon
from seqjax.data.grammar.clauses import held_out
from seqjax.data.grammar.sentences import Sentence
from seqjax.data.synthetic import LENGTHS, LONG_LENGTHS, SPLITS, SyntheticTranslation, split_of
from seqjax.errors import UserError

_TEST_SPLITS = SPLITS[1:]


@pytest.fixture(scope="module")
def samples():
    corpora = {split: SyntheticTranslation(split) for split in SPLITS}
    sizes = {split: 400 for split in SPLITS} | {"train": 10_000}
    return {split: [corpora[split][i] for i in range(sizes[split])] for split in SPLITS}


@pytest.mark.parametrize(
    ("split", "index", "source", "target"),
    [
        ("train", 0, "She closes a brown window, but Paul follows the friend now.",
         "Sie macht ein braunes Fenster zu, aber Paul folgt jetzt dem Freund."),
        ("train", 99_999, "Eighteen girls know that I came into the small kitchen.",
         "Achtzehn Mädchen wissen, dass ich in die kleine Küche gekommen bin."),
        ("validation", 1, "The teachers who can speak with the dog run into this garden.",
         "Die Lehrer, die mit dem Hund sprechen können, laufen in diesen Garten."),
        ("test", 0, "Now she comes into the new house.", "Jetzt kommt sie ins neue Haus."),
        ("test_composition", 0, "She needs the book that the women will look for.",
         "Sie braucht das Buch, das die Frauen suchen werden."),
    ],
)  # fmt: skip
def test_golden_pairs(split, index, source, target):
    assert SyntheticTranslation(split)[index] == {"source": source, "target": target}


def test_golden_contents(samples):
    """If this fails, the contents have changed: raise `_VERSION` in synthetic.py as well."""
    texts = "\n".join(f"{pair['source']}\t{pair['target']}" for split in SPLITS
                      for pair in samples[split][:200])  # fmt: skip
    digest = hashlib.blake2b(texts.encode(), digest_size=8).hexdigest()
    assert (digest, SyntheticTranslation("test").fingerprint) == (
        "dcbabffd11c1ec53",
        "synthetic:translation/test/version 1/1000",
    )


def test_an_example_does_not_depend_on_the_order_or_the_size(samples):
    train = SyntheticTranslation("train", size=50)
    assert [train[i] for i in reversed(range(50))] == samples["train"][49::-1]


def test_sizes_and_fingerprints():
    assert len(SyntheticTranslation("train", size=7)) == 7
    assert [len(SyntheticTranslation(split, size=7)) for split in _TEST_SPLITS] == [1000] * 4
    corpora = [SyntheticTranslation(split) for split in SPLITS]
    corpora.append(SyntheticTranslation("train", size=7))
    assert len({corpus.fingerprint for corpus in corpora}) == 6


def test_splits_are_disjoint(samples):
    seen = {split: {pair["source"] for pair in pairs} for split, pairs in samples.items()}
    assert sum(map(len, seen.values())) == len(set().union(*seen.values()))


def test_the_split_is_a_function_of_the_sentence(samples):
    for split in SPLITS:
        novel = split == "test_composition"
        assert {split_of(Sentence(*pair.values(), novel)) for pair in samples[split]} == {split}


def test_one_source_has_one_target_and_the_reverse(samples):
    pairs = {tuple(pair.values()) for split in SPLITS for pair in samples[split]}
    assert len({source for source, _ in pairs}) == len(pairs)
    assert len({target for _, target in pairs}) == len(pairs)


def test_lengths(samples):
    for split in SPLITS:
        shortest, longest = LONG_LENGTHS if split == "test_long" else LENGTHS
        for text in (text for pair in samples[split] for text in pair.values()):
            assert shortest <= len(text.split()) <= longest, text
    assert LONG_LENGTHS[0] > LENGTHS[1]
    words = [len(pair["source"].split()) for pair in samples["train"]]
    assert 8 < sum(words) / len(words) < 10


def test_train_rarely_repeats_itself(samples):
    assert len({pair["source"] for pair in samples["train"]}) > 0.98 * len(samples["train"])


def test_composition_has_only_known_words(samples):
    def words(split):
        return {word.strip(".,?").lower() for pair in samples[split] for text in pair.values()
                for word in text.split()}  # fmt: skip

    assert len(words("train")) < 1400
    assert len(words("test_composition") - words("train")) <= 0.01 * len(words("train"))


def test_composition_pairs_are_absent_from_other_splits(samples):
    phrases = {f"{word.english} {form}" for noun in lexicon.NOUNS for word in lexicon.ADJECTIVES
               if held_out(word, noun) for form in (noun.english, noun.english_plural)}  # fmt: skip
    phrases |= {f"{form} the {noun.english}" for verb in lexicon.TRANSITIVE
                for noun in lexicon.NOUNS if held_out(verb, noun)
                for form in (verb.english, verb.english_third, verb.english_past)}  # fmt: skip

    def found(split):
        text = "\n".join(pair["source"].lower() for pair in samples[split])
        # Most are not even part of a word; to search for a pattern takes much longer.
        return {p for p in phrases if p in text and re.search(rf"\b{p}\b", text)}

    assert len(found("test_composition")) > 50
    for split in SPLITS[:-1]:
        assert not found(split)


def test_unknown_split_is_a_user_error():
    with pytest.raises(UserError, match="'valid': expected .*test_long.*did you mean 'validation'"):
        SyntheticTranslation("valid")


@pytest.mark.parametrize("index", [-1, 1000])
def test_index_out_of_range(index):
    with pytest.raises(IndexError, match="of 1000"):
        SyntheticTranslation("test")[index]
