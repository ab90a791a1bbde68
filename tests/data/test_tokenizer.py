import json
import os
import pathlib
import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.config import RULES, default_config
from seqjax.data import tokenizer as tokenizer_module
from seqjax.data.corpus import open_corpus
from seqjax.data.subwords import Subwords
from seqjax.data.text_form import NORMALIZATIONS
from seqjax.data.tokenizer import (
    BOS,
    EOS,
    KINDS,
    PAD,
    UNK,
    load_tokenizers,
    save_tokenizers,
    train_tokenizers,
)
from seqjax.errors import UserError

COMBINING = "e\u0301\u0308 n\u0303 \u0915\u094d\u0937\u093f"
EMOJI = "😀 👩\u200d👩\u200d👧 ☃\ufe0f 🇩🇪"
SPECIAL = "<s> </s> <unk> <pad> <0x41> a_b \u2028 \u00a0 \u3000 \ufb01"
ALPHABET = sorted(set("abcXYZäßñ09.,'’-\"!?¿()漢字かなдая" + COMBINING + EMOJI + SPECIAL))
LANGUAGE = st.text(st.sampled_from(ALPHABET), max_size=40)
# Texts that look like sentences: words with odd spaces between.
WORDS = (
    "a small hello world don't dog's it’s 3,000.50 3rd well-known (été) \"zwei\" e\u0301te\u0301 "
    "😀 ☃\ufe0f नमस्ते 漢字 <s> <unk>"
).split()
SENTENCE = st.lists(st.sampled_from(WORDS + ["", " ", "  "]), max_size=12).map(" ".join)
CHECKS = settings(derandomize=True, deadline=None, max_examples=100)


class Pairs(list):
    fingerprint = "pairs"


def pairs(sources, targets):
    return Pairs(
        {"source": source, "target": target}
        for source, target in zip(sources, targets, strict=True)
    )


def covering():
    """Every character of the alphabet and every word, in all neighbourhoods that matter."""
    texts = [f" {a}{b} " for a, b in zip(ALPHABET, ALPHABET[1:] + ALPHABET[:1], strict=True)]
    texts += [f"{word} {word}  {word}{word}" for word in WORDS] * 3
    return pairs(texts, [text[::-1] for text in texts])


def trained(kind, corpus=None, **fields):
    config = default_config().tokenizer
    config.kind = kind
    config.vocabulary = 400
    for name, value in fields.items():
        config[name] = value
    return train_tokenizers(config, covering() if corpus is None else corpus)


@pytest.fixture(scope="module")
def of_kind():
    return {kind: trained(kind)["source"] for kind in KINDS}


@pytest.mark.parametrize("kind", ["unigram", "bpe", "character", "byte", "decomposed"])
@CHECKS
@given(text=LANGUAGE | SENTENCE)
def test_decoding_inverts_encoding(of_kind, kind, text):
    tokenizer = of_kind[kind]
    ids = tokenizer.encode(text)
    assert all(UNK < token < tokenizer.vocabulary_size for token in ids)
    expected = unicodedata.normalize("NFC", text) if kind == "decomposed" else text
    assert tokenizer.decode(ids) == expected
    assert tokenizer.decode([BOS, PAD, *ids, EOS, PAD, *ids]) == expected


@pytest.mark.parametrize("kind", ["word", "space"])
@CHECKS
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8"), max_size=40) | SENTENCE, min_size=1, max_size=8
    )
)
def test_words_invert_whatever_they_have_seen(kind, texts):
    texts.append("x")
    tokenizer = trained(kind, pairs(texts, texts), vocabulary=10_000)["source"]
    for text in texts:
        ids = tokenizer.encode(text)
        assert UNK not in ids
        assert tokenizer.decode(ids) == text


# What SentencePiece keeps for itself, cuts off, or counts as something else.
AWKWARD = (
    "<unk> <s> </s> <pad> ▁ ▅ \x00 \x1f \t \r \n \ufeff \ufffd \ufffe \x85 \u3000 <0x0A> "
    "\U0010f5e0 \U0010f5e1 \U0010f5e4"
).split(" ")
AWKWARD_TEXT = st.lists(
    st.sampled_from([*AWKWARD, " ", "a", "b<unk>"]) | st.characters(codec="utf-8"), max_size=12
).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(CHECKS, max_examples=40)
@given(texts=st.lists(AWKWARD_TEXT, min_size=1, max_size=4), data=st.data())
def test_whatever_a_corpus_holds_comes_back(kind, texts, data):
    """Also what is composed anew of its characters, or of its words."""
    if kind == "space":
        # An empty word stands between two spaces.
        alphabet = sorted({word for text in texts for word in text.split(" ")} - {""})
    else:
        alphabet = sorted({character for text in texts for character in text})
    text = data.draw(st.lists(st.sampled_from(["a", *alphabet]), max_size=20))
    text = (" " if kind == "space" else "").join(text)
    examples = [*texts, "a b", *([text] if kind == "word" else [])]
    tokenizer = trained(kind, pairs(examples, examples), vocabulary=2000)["source"]
    for given_text in (*texts, text):
        ids = tokenizer.encode(given_text)
        assert UNK not in ids
        composed = unicodedata.normalize("NFC", given_text)
        assert tokenizer.decode(ids) == (composed if kind == "decomposed" else given_text)
        if kind in ("unigram", "bpe"):
            sampled = Subwords(kind, tokenizer.model, sampling=0.5).sample(given_text, 1)
            assert tokenizer.decode(sampled) == given_text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalization", ["NFC", "NFKC"])
@settings(CHECKS, max_examples=60)
@given(text=LANGUAGE | SENTENCE)
def test_normalized_texts_come_back_normalized(normalized, kind, normalization, text):
    tokenizer = normalized[kind, normalization]
    expected = unicodedata.normalize(normalization, text)
    ids = tokenizer.encode(text)
    assert ids == tokenizer.encode(expected) == tokenizer.encode_batch([text])[0]
    # A letter and an accent that the training data has apart may meet in a character it lacks.
    seen = {
        c
        for pair in covering()
        for c in unicodedata.normalize(normalization, "".join(pair.values()))
    }
    if kind == "byte" or (kind not in ("word", "space") and set(expected) <= seen):
        assert tokenizer.decode(ids) == expected


@pytest.fixture(scope="module")
def normalized():
    return {
        (kind, normalization): trained(kind, normalization=normalization)["source"]
        for kind in KINDS
        for normalization in ("NFC", "NFKC")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_letters_and_accents_are_the_same_text_if_normalized(kind):
    composed, apart = "é \u1ec7", "e\u0301 e\u0323\u0302"
    corpus = pairs([composed] * 4, [composed] * 4)
    plain = trained(kind, corpus)["source"]
    tokenizer = trained(kind, corpus, normalization="NFC")["source"]
    assert tokenizer.encode(apart) == tokenizer.encode(composed)
    assert tokenizer.decode(tokenizer.encode(apart)) == composed
    assert UNK not in tokenizer.encode(apart)
    if kind not in ("byte", "decomposed"):
        assert UNK in plain.encode(apart)
    # A model of decomposed texts writes composed ones.
    other = trained(kind, pairs([apart] * 4, [apart] * 4), normalization="NFC")["source"]
    assert other.decode(other.encode(apart)) == composed
    compatible = trained(kind, pairs(["fi ½ ａ"], ["x"]), normalization="NFKC")["source"]
    assert compatible.encode("ﬁ") == compatible.encode("fi")


def test_normalizations_are_those_that_a_config_may_name():
    assert RULES["tokenizer.normalization"].known == NORMALIZATIONS


def test_tokenizers_saved_before_there_was_normalization(folder):
    for kind in KINDS:
        tokenizers = trained(kind)
        save_tokenizers(tokenizers, folder / kind)
        path = folder / kind / "tokenizer.json"
        state = json.loads(path.read_text())
        assert state["joint"].pop("normalization") == "none"
        path.write_text(json.dumps(state))
        assert load_tokenizers(folder / kind).fingerprint == tokenizers.fingerprint


@CHECKS
@given(text=st.text(st.characters(codec="utf-8")))
def test_bytes_cover_everything(of_kind, text):
    assert of_kind["byte"].decode(of_kind["byte"].encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
@CHECKS
@given(texts=st.lists(st.text(st.characters(codec="utf-8")) | SENTENCE, max_size=5))
def test_a_batch_is_its_texts(of_kind, kind, texts):
    tokenizer = of_kind[kind]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


@pytest.mark.parametrize("kind", KINDS)
@CHECKS
@given(ids=st.lists(st.integers(0, 500)))
def test_any_ids_can_be_decoded(of_kind, kind, ids):
    assert isinstance(of_kind[kind].decode(ids), str)
    assert len(of_kind[kind].pieces(ids)) == len(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_special_ids(of_kind, kind):
    tokenizer = of_kind[kind]
    assert tokenizer.pieces([PAD, BOS, EOS, UNK]) == ["<pad>", "<s>", "</s>", "<unk>"]
    beyond = tokenizer.vocabulary_size
    assert tokenizer.pieces([beyond, -1]) == ["<unk>", "<unk>"]
    assert tokenizer.decode([UNK]) == tokenizer.decode([beyond]) == "<unk>"
    assert tokenizer.decode([]) == tokenizer.decode([EOS]) == ""
    assert tokenizer.encode("") == []
    # Text that spells a special symbol is text.
    assert not {PAD, BOS, EOS} & set(tokenizer.encode("<s> a </s> <pad>"))


def test_the_kinds_are_those_that_a_config_may_name():
    assert set(RULES["tokenizer.kind"].known) == set(KINDS)
    assert set(RULES["tokenizer.target_kind"].known) == {"", *KINDS}


def test_what_stands_between_spaces_is_one_token():
    """As words, I_TURN_RIGHT would be five."""
    texts = ["I_TURN_RIGHT I_JUMP", "t͡ɕ͈ a̠ bː", "don't stop."]
    tokenizer = trained("space", pairs(texts, texts))["source"]
    assert [len(tokenizer.encode(text)) for text in texts] == [2, 3, 2]
    assert tokenizer.pieces(tokenizer.encode(texts[0])) == ["▁I_TURN_RIGHT", "▁I_JUMP"]
    assert len(trained("word", pairs(texts, texts))["source"].encode(texts[0])) == 8


def test_a_decomposed_syllable_is_known_by_its_letters():
    """Hangul and accents that were never seen together are composed again."""
    known = pairs(["가꾼 né"], ["x"])
    tokenizer = trained("decomposed", known)["source"]
    ids = tokenizer.encode("간 ń")
    assert len(ids) == 6 and UNK not in ids
    assert tokenizer.decode(ids) == "간 ń"
    assert UNK in trained("character", known)["source"].encode("간")


@pytest.mark.parametrize("kind", ["unigram", "bpe", "word", "character", "space", "decomposed"])
def test_unknown_symbols(of_kind, kind):
    tokenizer = of_kind[kind]
    assert UNK in tokenizer.encode("hello Ω world")
    assert tokenizer.decode(tokenizer.encode("hello Ω world")) == "hello <unk> world"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("joint", [True, False])
def test_saved_tokenizers_are_the_same(folder, kind, joint):
    tokenizers = trained(kind, joint=joint, lowercase=True, sampling=0.3, normalization="NFKC")
    assert (tokenizers["source"] is tokenizers["target"]) == tokenizers.joint == joint
    save_tokenizers(tokenizers, folder / "run" / "tokenizer")
    (folder / "run").rename(folder / "elsewhere")
    loaded = load_tokenizers(folder / "elsewhere" / "tokenizer")
    assert loaded.joint == joint
    assert loaded.fingerprint == tokenizers.fingerprint
    for side in ("source", "target"):
        before, after = tokenizers[side], loaded[side]
        assert after.vocabulary_size == before.vocabulary_size
        assert after.fingerprint == before.fingerprint
        for text in ("Hello  WORLD Ω ", "DON'T", "\ufb01e\u0301"):
            assert after.encode(text) == before.encode(text)
            assert after.sample(text, 3) == before.sample(text, 3)
            assert after.encode(text) == after.encode(text.lower())


def test_sides_of_different_kinds(tmp_path):
    """Letters to phonemes: each side has its kind, trained on its texts, saved and found again."""
    corpus = pairs(["aab ab", "ba"], ["aː b", "b aː"])
    letters = trained("character", corpus, joint=False)
    tokenizers = trained("character", corpus, joint=False, target_kind="space")
    assert (tokenizers["source"].kind, tokenizers["target"].kind) == ("character", "space")
    assert tokenizers["source"].fingerprint == letters["source"].fingerprint
    assert tokenizers.fingerprint != letters.fingerprint
    assert len(tokenizers["source"].encode("aab ab")) == 6
    assert len(tokenizers["target"].encode("aː b")) == 2
    save_tokenizers(tokenizers, tmp_path)
    loaded = load_tokenizers(tmp_path)
    assert loaded.fingerprint == tokenizers.fingerprint
    assert loaded["target"].decode(tokenizers["target"].encode("b aː")) == "b aː"
    mixed = trained("bpe", covering(), joint=False, target_kind="byte")
    save_tokenizers(mixed, tmp_path / "mixed")
    assert load_tokenizers(tmp_path / "mixed").fingerprint == mixed.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_fingerprint_follows_settings_and_contents(kind):
    plain = trained(kind)
    assert trained(kind).fingerprint == plain.fingerprint
    assert trained(kind, lowercase=True).fingerprint != plain.fingerprint
    assert trained(kind, normalization="NFC").fingerprint != plain.fingerprint
    assert trained(kind, joint=False).fingerprint != plain.fingerprint
    other = "byte" if kind != "byte" else "character"
    mixed = trained(kind, joint=False, target_kind=other)
    assert mixed.fingerprint != trained(kind, joint=False).fingerprint
    if kind != "byte":
        smaller = 170 if kind in ("unigram", "bpe") else 60
        assert trained(kind, vocabulary=smaller).fingerprint != plain.fingerprint


def test_each_side_learns_its_own_texts():
    corpus = pairs(["aab", "ab"] * 20, ["xxy", "yx"] * 20)
    for kind in ("bpe", "word", "character"):
        apart = trained(kind, corpus, joint=False, vocabulary=20)
        assert UNK in apart["source"].encode("xy") and UNK in apart["target"].encode("ab")
        joint = trained(kind, corpus, vocabulary=20)
        for text in ("aab", "yx"):
            assert joint["source"].decode(joint["source"].encode(text)) == text


def test_large_corpora_are_drawn_from(monkeypatch):
    monkeypatch.setattr(tokenizer_module, "MAX_TRAINING_PAIRS", 50)
    texts = [f"w{i}" for i in range(1000)]
    first = trained("word", pairs(texts, texts), vocabulary=2000)
    assert first["source"].vocabulary_size == 54
    ranks = [i for i, text in enumerate(texts) if UNK not in first["source"].encode(text)]
    assert ranks[0] < 200 and ranks[-1] > 800
    assert trained("word", pairs(texts, texts), vocabulary=2000).fingerprint == first.fingerprint


@pytest.mark.parametrize("kind", ["unigram", "bpe", "character", "decomposed"])
def test_characters_of_pairs_that_are_not_drawn_are_known(kind, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "MAX_TRAINING_PAIRS", 50)
    texts = [f"a{chr(0x4E00 + i)}" for i in range(200)]
    tokenizer = trained(kind, pairs(texts, texts))["source"]
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in texts)


def error_of(function, *arguments, **fields):
    with pytest.raises(UserError) as caught:
        function(*arguments, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors(folder):
    assert "unigram, bpe, word, character, byte, space" in error_of(trained, "wordpiece")
    missing = folder / "nothing"
    assert str(missing) in error_of(load_tokenizers, missing)
    save_tokenizers(trained("bpe"), folder)
    (folder / "joint.model").write_bytes(b"damaged")
    assert "damaged" in error_of(load_tokenizers, folder)
    (folder / "joint.model").unlink()
    assert "joint.model" in error_of(load_tokenizers, folder)
    (folder / "tokenizer.json").write_text("{")
    assert "damaged" in error_of(load_tokenizers, folder)


def test_another_process_reads_the_same(tmp_path):
    tokenizers = trained("unigram", sampling=0.5)
    save_tokenizers(tokenizers, tmp_path)
    program = (
        "import sys; from seqjax.data.tokenizer import load_tokenizers; "
        "t = load_tokenizers(sys.argv[1]); "
        "print(t.fingerprint, [t['source'].sample('small hello world', i) for i in range(5)])"
    )
    root = pathlib.Path(__file__).parents[2]
    output = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
    ).stdout
    samples = [tokenizers["source"].sample("small hello world", i) for i in range(5)]
    assert output.strip() == f"{tokenizers.fingerprint} {samples}"


def test_multi30k_takes_seconds():
    default = pathlib.Path(__file__).parents[3] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("SEQJAX_DATA", default)) / "multi30k"
    if not folder.is_dir():
        pytest.skip("Multi30k is not here; SEQJAX_DATA names the folder that holds multi30k/")
    config = default_config()
    config.data.corpus = "text"
    config.data.directory = str(folder)
    corpus = open_corpus(config.data, "train")
    begin = time.monotonic()
    tokenizers = train_tokenizers(config.tokenizer, corpus)
    assert time.monotonic() - begin < 20
    assert tokenizers["source"].vocabulary_size == 8000
    texts = [corpus[i]["target"] for i in range(len(corpus))]
    for text, ids in zip(texts, tokenizers["target"].encode_batch(texts), strict=True):
        assert tokenizers["target"].decode(ids) == text


def test_the_alphabet_is_worth_its_name():
    categories = {unicodedata.category(character)[0] for character in ALPHABET}
    assert categories >= {"L", "M", "N", "P", "S", "Z", "C"}
    assert "▁" not in ALPHABET
