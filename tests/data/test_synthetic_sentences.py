import pytest

from seqjax.data.synthetic import SPLITS, SyntheticTranslation
from seqjax.data.synthetic_sentences import SyntheticSentences
from seqjax.errors import UserError


def test_documents_are_the_english_sentences():
    sentences, pairs = SyntheticSentences("train", 50), SyntheticTranslation("train", 50)
    assert len(sentences) == 50
    assert [sentences[i] for i in range(50)] == [{"text": pairs[i]["source"]} for i in range(50)]
    for beyond in (-1, 50):
        with pytest.raises(IndexError):
            sentences[beyond]


def test_splits_share_no_sentence_and_have_fingerprints():
    corpora = [SyntheticSentences(split, 200) for split in SPLITS]
    texts = [{corpus[i]["text"] for i in range(min(len(corpus), 200))} for corpus in corpora]
    assert len(set.union(*texts)) == sum(map(len, texts))
    prints = {corpus.fingerprint for corpus in [*corpora, SyntheticSentences("train", 201)]}
    assert len(prints) == len(SPLITS) + 1
    assert SyntheticTranslation("train", 200).fingerprint not in prints


def test_an_unknown_split_is_an_error():
    with pytest.raises(UserError, match="split = 'dev': expected one of train, "):
        SyntheticSentences("dev")
