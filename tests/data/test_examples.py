import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import seqjax.data.examples
from seqjax.config import default_config
from seqjax.data.examples import Examples, Feature
from seqjax.data.examples import tokenize as tokenize_features
from seqjax.data.selection import DROPPED, filtered
from seqjax.data.symbols import Symbols
from seqjax.data.tokenizer import EOS, UNK, Tokenizers
from seqjax.errors import Unavailable, UserError


def pair(source, target):
    return {"source": source, "target": target}


PAIRS = [
    pair("abc", "cba"),
    pair("", "a"),
    pair("a?b", "b"),
    pair("abcabcabc", "a"),
    pair("b", "cccccccccc"),
    pair("c", "  "),
    pair("aaaaaaaaaa", "bbbbbbbbbb"),
]


class Pairs(list):
    """A corpus in memory."""

    def __init__(self, pairs=PAIRS):
        super().__init__(pairs)
        self.fingerprint = repr(pairs)


def both(source, target) -> Tokenizers:
    return Tokenizers({"source": source, "target": target})


class CountingCharacters(Symbols):
    """Characters a, b, c and space; counts the texts it encodes."""

    def __init__(self):
        super().__init__("character", "abc ")
        self.encoded = 0

    def encode(self, text):
        self.encoded += 1
        return super().encode(text)


@pytest.fixture
def tokenizers() -> Tokenizers:
    characters = CountingCharacters()
    return both(characters, characters)


@pytest.fixture
def data(tmp_path) -> ConfigDict:
    data = default_config().data
    data.update(cache=str(tmp_path / "new" / "cache"), max_source_length=6, max_target_length=6)
    return data


def tokenize(corpus, tokenizers, data, training) -> Examples:
    """Returns pairs as the task of translation has them."""
    features = [
        Feature("source", data.max_source_length, always=True),
        Feature("target", data.max_target_length),
    ]
    return tokenize_features(corpus, tokenizers, data, features, training)


def folders(data: ConfigDict) -> list[Path]:
    return sorted(Path(data.cache).iterdir())


def contents(corpus: Examples) -> list[tuple[list[int], list[int]]]:
    source, target = corpus.features.values()
    return [(source[i].tolist(), target[i].tolist()) for i in range(len(corpus))]


def test_ids_end_with_eos_and_decode_to_the_text(tokenizers, data):
    corpus = tokenize(Pairs(PAIRS[:1] * 3), tokenizers, data, training=True)
    assert contents(corpus) == [([4, 5, 6, EOS], [6, 5, 4, EOS])] * 3
    assert {corpus.features[name][0].dtype for name in tokenizers} == {np.dtype(np.int32)}
    assert tokenizers["source"].decode(corpus.features["source"][2]) == "abc"
    assert corpus.features["source"].tokens.dtype == np.uint16


def test_large_vocabularies_are_stored_whole(tokenizers, data):
    large = Symbols("character", [chr(0x4E00 + i) for i in range(70_000)])
    corpus = tokenize(Pairs([pair(large.symbols[-1], "a")]), both(large, large), data, True)
    assert corpus.features["source"][0].tolist() == [70_003, EOS]


def test_training_drops_empty_and_long_pairs(tokenizers, data):
    corpus = tokenize(Pairs(), tokenizers, data, training=True)
    assert corpus.indices.tolist() == [0, 2]
    assert contents(corpus)[1] == ([4, UNK, 5, EOS], [5, EOS])
    assert corpus.lengths["source"].tolist() == [4, 4]
    assert corpus.lengths["target"].tolist() == [4, 2]
    assert corpus.report == {
        "pairs": 7,
        "kept": 2,
        "identical_dropped": 0,
        "duplicates_dropped": 0,
        "overlap_dropped": 0,
        "empty_dropped": 2,
        "ratio_dropped": 0,
        "long_dropped": 3,
        "long_cut": 0,
        "source_tokens": 8,
        "target_tokens": 6,
        "source_unknown": 1,
        "target_unknown": 0,
    }


def test_training_may_cut_and_keep(tokenizers, data):
    data.update(over_length="cut", empty="keep")
    corpus = tokenize(Pairs(), tokenizers, data, training=True)
    assert corpus.indices.tolist() == list(range(7))
    assert contents(corpus)[1] == ([EOS], [4, EOS])
    assert contents(corpus)[3] == ([4, 5, 6, 4, 5, EOS], [4, EOS])
    assert contents(corpus)[6] == ([4] * 5 + [EOS], [5] * 5 + [EOS])
    assert corpus.report["long_cut"] == 3
    assert corpus.report["empty_dropped"] == corpus.report["long_dropped"] == 0
    assert max(corpus.lengths["source"].max(), corpus.lengths["target"].max()) == 6


def test_training_drops_pairs_of_uneven_lengths(tokenizers, data):
    data.max_length_ratio = 2.0
    corpus = tokenize(Pairs(), tokenizers, data, training=True)
    # Of the others one side is blank, too long, or three times as long as the other.
    assert corpus.indices.tolist() == [0]
    assert corpus.report["ratio_dropped"] == 3 and corpus.report["empty_dropped"] == 2
    assert len(tokenize(Pairs(), tokenizers, data, training=False)) == 7
    even = tokenize(Pairs([pair("ab", "abca"), pair("ab", "abcab")]), tokenizers, data, True)
    assert even.indices.tolist() == [0]


def test_what_filters_dropped_is_counted(tokenizers, data):
    corpus = Pairs([pair("a", "b"), pair("c", "c"), pair("a", "b"), pair("b", "a")])
    data.update(drop_identical=True, drop_duplicates=True, drop_overlap=True)
    held_out = [Pairs([pair("b", "x")])]
    report = tokenize(filtered(corpus, data, held_out), tokenizers, data, training=True).report
    assert report["pairs"] == 4 and report["kept"] == 1
    assert [report[reason] for reason in DROPPED] == [1, 1, 1]


def test_an_example_at_the_limit_stays_whole(tokenizers, data):
    corpus = tokenize(Pairs([pair("abcab", "abcab")]), tokenizers, data, training=True)
    assert corpus.report["long_dropped"] == 0
    assert corpus.lengths["source"].tolist() == [6]


def test_evaluation_drops_nothing_and_never_cuts_targets(tokenizers, data):
    corpus = tokenize(Pairs(), tokenizers, data, training=False)
    assert corpus.indices.tolist() == list(range(7))
    assert contents(corpus)[1] == ([EOS], [4, EOS])
    assert corpus.features["source"][6].tolist() == [4] * 5 + [EOS]
    assert tokenizers["target"].decode(corpus.features["target"][6]) == "b" * 10
    assert corpus.report["long_cut"] == 2
    assert corpus.report["kept"] == 7


def test_chunks_join_without_a_seam(tokenizers, data, monkeypatch):
    whole = tokenize(Pairs(), tokenizers, data, training=True)
    shutil.rmtree(data.cache)
    monkeypatch.setattr(seqjax.data.examples, "CHUNK", 2)
    parts = tokenize(Pairs(), tokenizers, data, training=True)
    assert contents(parts) == contents(whole)
    assert (parts.report, parts.digest) == (whole.report, whole.digest)
    np.testing.assert_array_equal(parts.indices, whole.indices)


def test_the_second_time_comes_from_the_cache(tokenizers, data):
    first = tokenize(Pairs(), tokenizers, data, training=True)
    encoded = tokenizers["source"].encoded
    second = tokenize(Pairs(), tokenizers, data, training=True)
    assert tokenizers["source"].encoded == encoded == 14
    assert contents(second) == contents(first)
    assert (second.report, second.digest) == (first.report, first.digest)
    np.testing.assert_array_equal(second.indices, first.indices)
    assert len(folders(data)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"max_source_length": 5},
        {"max_target_length": 5},
        {"over_length": "cut"},
        {"empty": "keep"},
        {"limit": 3},
        {"max_length_ratio": 3.0},
    ],
)
def test_each_option_has_its_own_cache(tokenizers, data, change):
    tokenize(Pairs(), tokenizers, data, training=True)
    data.update(change)
    tokenize(Pairs(), tokenizers, data, training=True)
    assert len(folders(data)) == 2


def test_corpus_tokenizers_and_purpose_have_their_own_caches(tokenizers, data):
    other = both(tokenizers["source"], Symbols("character", "abcd "))
    for corpus, pair_of_them, training in (
        (Pairs(), tokenizers, True),
        (Pairs(), tokenizers, False),
        (Pairs(), other, True),
        (Pairs(PAIRS[:3]), tokenizers, True),
    ):
        tokenize(corpus, pair_of_them, data, training)
    assert len(folders(data)) == 4


def _truncate(folder: Path) -> None:
    path = folder / "target.npy"
    os.truncate(path, path.stat().st_size - 1)


def _append(folder: Path) -> None:
    np.save(folder / "source.npy", np.arange(99, dtype=np.uint16))


def _forget(folder: Path) -> None:
    (folder / "source_offsets.npy").unlink()


def _empty(folder: Path) -> None:
    (folder / "indices.npy").write_bytes(b"")


def _garble(folder: Path) -> None:
    (folder / "report.json").write_text("{")


def _shorten(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    del report["long_cut"]
    (folder / "report.json").write_text(json.dumps(report))


@pytest.mark.parametrize("damage", [_truncate, _append, _forget, _empty, _garble, _shorten])
def test_a_damaged_cache_is_built_again(tokenizers, data, damage):
    whole = tokenize(Pairs(), tokenizers, data, training=True)
    expected, encoded = contents(whole), tokenizers["source"].encoded
    damage(folders(data)[0])
    again = tokenize(Pairs(), tokenizers, data, training=True)
    assert contents(again) == expected
    assert tokenizers["source"].encoded == 2 * encoded
    tokenize(Pairs(), tokenizers, data, training=True)
    assert tokenizers["source"].encoded == 2 * encoded
    assert len(folders(data)) == 1


def test_a_writer_that_fails_leaves_nothing(tokenizers, data):
    class Broken(Pairs):
        def __getitem__(self, index):
            if index == 4:
                raise RuntimeError("the disk of the corpus is gone")
            return super().__getitem__(index)

    with pytest.raises(RuntimeError, match="disk of the corpus"):
        tokenize(Broken(), tokenizers, data, training=True)
    assert folders(data) == []


def test_concurrent_writers_agree(tokenizers, data):
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(tokenize, Pairs(), tokenizers, data, True) for _ in range(8)]
    expected = contents(jobs[0].result())
    assert all(contents(job.result()) == expected for job in jobs)
    assert len(folders(data)) == 1


def test_the_cache_folder_is_expanded(tokenizers, data, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_FOLDER", str(tmp_path))
    data.cache = "$SOME_FOLDER/tokens"
    tokenize(Pairs(), tokenizers, data, training=True)
    assert len(list((tmp_path / "tokens").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_a_user_error(tokenizers, data, tmp_path):
    (tmp_path / "file").write_text("")
    data.cache = str(tmp_path / "file" / "cache")
    with pytest.raises(UserError, match=r"data\.cache = .*file/cache.* folder that can be written"):
        tokenize(Pairs(), tokenizers, data, training=True)


def test_the_digest_detects_other_words_of_the_same_lengths(tokenizers, data):
    def digest(*pairs):
        return tokenize(Pairs([pair(*sides) for sides in pairs]), tokenizers, data, True).digest

    same = digest(("ab", "c"), ("b", "a"))
    assert same == digest(("ab", "c"), ("b", "a"))
    assert len({same, digest(("ac", "c"), ("b", "a")), digest(("ab", "c"), ("ba", ""))}) == 3


def test_a_full_disk_may_pass(tokenizers, data, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(seqjax.data.examples.np, "save", full)
    with pytest.raises(Unavailable, match=r"data\.cache = .* folder that can be written"):
        tokenize(Pairs(), tokenizers, data, training=True)


def test_nothing_left_is_a_user_error(tokenizers, data):
    data.max_source_length = 2
    with pytest.raises(UserError, match="none of 3 training .*: empty dropped 1, long dropped 2;"):
        tokenize(Pairs(PAIRS[:3]), tokenizers, data, training=True)
    with pytest.raises(UserError, match="expected at least one pair"):
        tokenize(Pairs([]), tokenizers, data, training=False)
    assert folders(data) == []


def test_nothing_is_written_to_standard_output(tokenizers, data, capfd):
    tokenize(Pairs(), tokenizers, data, training=True)
    assert capfd.readouterr().out == ""
