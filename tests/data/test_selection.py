import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.config import default_config
from seqjax.data.corpus import open_corpus
from seqjax.data.selection import SPLITS, filtered, select_split
from seqjax.errors import UserError

CHECKS = settings(derandomize=True, deadline=None, max_examples=100)
SIDE = st.sampled_from(["a", "b", "c", "d", "", " "])


def record(source, target):
    return {"source": source, "target": target}


PAIRS = st.lists(st.builds(record, SIDE, SIDE), max_size=40)


class Pairs(list):
    @property
    def fingerprint(self):
        return repr(self)


def options(**fields):
    data = default_config().data
    data.update(files="pairs.tsv", **fields)
    return data


def members(corpus):
    return [corpus[i] for i in range(len(corpus))]


def numbered(count):
    return Pairs(record(f"source {i // 3}", f"target {i}") for i in range(count))


@CHECKS
@given(st.integers(40, 300), st.integers(0, 2**32 - 1), st.sampled_from(["line", "source"]))
def test_each_pair_is_in_one_split(count, seed, by):
    data = options(split_by=by, split_seed=seed, validation_share=0.1, test_share=0.25)
    splits = {split: members(select_split(numbered(count), data, split)) for split in SPLITS}
    in_order = numbered(count)
    assert sorted(sum(splits.values(), []), key=in_order.index) == in_order
    for pairs in splits.values():
        # In the order of the file.
        assert pairs == sorted(pairs, key=in_order.index)
    # By source a split may get the rest of a source's pairs.
    slack = 0 if by == "line" else 2
    assert 0 <= len(splits["validation"]) - round(0.1 * count) <= slack
    assert 0 <= len(splits["test"]) - round(0.25 * count) <= slack
    if by == "source":
        sources = [{pair["source"] for pair in pairs} for pairs in splits.values()]
        assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])


def test_golden_division():
    """Splits are the same on every machine and version."""
    corpus = numbered(20)
    by_line = options(split_by="line", validation_share=0.1, test_share=0.1)
    targets = [pair["target"] for pair in members(select_split(corpus, by_line, "validation"))]
    assert targets == ["target 0", "target 8"]
    by_source = options(split_by="source", validation_share=0.1, test_share=0.1)
    assert {pair["source"] for pair in members(select_split(corpus, by_source, "test"))} == {
        "source 1"
    }
    other = options(split_by="source", split_seed=1, validation_share=0.1, test_share=0.1)
    assert {pair["source"] for pair in members(select_split(corpus, other, "test"))} != {"source 1"}


def test_a_division_goes_by_the_contents():
    data = options(split_by="line")
    first, other = (select_split(numbered(count), data, "test").fingerprint for count in (50, 51))
    assert first == select_split(numbered(50), data, "test").fingerprint != other
    assert select_split(numbered(50), data, "train").fingerprint != first
    assert select_split(numbered(50), options(split_by="source"), "test").fingerprint != first


def error_of(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_splits_that_cannot_be():
    data = options(split_by="line", test_share=0.0, validation="dev")
    assert len(select_split(numbered(50), data, "dev")) == len(
        select_split(numbered(50), data, "validation")
    )
    message = error_of(select_split, numbered(50), data, "tests")
    assert message.startswith(
        "split = 'tests': expected one of train, validation, test, since data."
    )
    assert message.endswith("'line' divides 'pairs.tsv'; did you mean 'test'?")
    assert "data.test_share = 0.0: expected more than 0" in error_of(
        select_split, numbered(50), data, "test"
    )
    same = Pairs([record("a", "b")] * 50)
    message = error_of(select_split, same, options(split_by="source"), "train")
    assert "expected shares that leave some of 50 pairs to train on" in message
    assert "leave some of 1 pairs" in error_of(
        select_split, numbered(1), options(split_by="line"), "train"
    )


@CHECKS
@given(PAIRS, PAIRS, st.booleans(), st.booleans(), st.booleans())
def test_filters_drop_what_they_say(corpus, held_out, identical, duplicates, overlap):
    data = options(drop_identical=identical, drop_duplicates=duplicates, drop_overlap=overlap)
    corpus, held_out = Pairs([*corpus, record("never", "dropped")]), Pairs(held_out)
    expected, counts, seen = [], collections.Counter(), []
    sources = {pair["source"] for pair in held_out}
    for pair in corpus:
        if identical and pair["source"] == pair["target"] and pair["source"].strip():
            counts["identical_dropped"] += 1
        elif duplicates and pair in seen:
            counts["duplicates_dropped"] += 1
        elif overlap and pair["source"] in sources:
            counts["overlap_dropped"] += 1
        else:
            expected.append(pair)
        seen.append(pair)
    kept = filtered(corpus, data, [held_out])
    assert members(kept) == expected
    assert not +counts or {k: n for k, n in kept.dropped.items() if n} == counts


def test_without_filters_a_corpus_is_itself():
    corpus = numbered(5)
    assert filtered(corpus, options(), []) is corpus
    data = options(drop_duplicates=True)
    assert filtered(corpus, data, []).fingerprint != corpus.fingerprint
    # What is held out matters where it is looked at.
    others = [filtered(corpus, data, [numbered(n)]).fingerprint for n in (1, 2)]
    assert others[0] == others[1]
    data.drop_overlap = True
    others = [filtered(corpus, data, [Pairs([record(name, "")])]).fingerprint for name in "ab"]
    assert others[0] != others[1]


def test_nothing_left():
    data = options(drop_overlap=True)
    message = error_of(filtered, numbered(3), data, [numbered(3)])
    expected = "expected some of 3 training pairs to be left (3 overlap dropped)"
    assert message == f"data.drop_overlap = True: {expected}"


@pytest.mark.slow
def test_several_translations_of_a_source_stay_together(real_data):
    data = default_config().data
    data.update(corpus="tsv", directory=str(real_data / "tatoeba_deu"), files="deu.txt")
    data.update(source="0", target="1", split_by="source", drop_overlap=True)
    splits = {split: open_corpus(data, split) for split in SPLITS}
    assert sum(map(len, splits.values())) == 169_197
    assert splits["train"].dropped == {"overlap_dropped": 0}
    assert 0 <= len(splits["test"]) - 8460 < 50
    sources = [
        {pair["source"] for pair in members(splits[name])} for name in ("validation", "test")
    ]
    assert not sources[0] & sources[1]
    data.split_by = "line"
    assert open_corpus(data, "train").dropped["overlap_dropped"] > 1000


def test_limit_counts_pairs_before_they_are_filtered(tmp_path):
    (tmp_path / "pairs.tsv").write_text("a\ta\na\tb\na\tb\nc\td\n" * 10)
    data = options(corpus="tsv", directory=str(tmp_path), source="0", target="1", limit=3)
    data.update(split_by="line", drop_identical=True, drop_duplicates=True)
    corpus = open_corpus(data, "train")
    assert len(corpus) + sum(corpus.dropped.values()) == 3
