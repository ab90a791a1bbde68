from seqjax.reporting.evaluations import (
    corpus_facts,
    read_evaluations,
    rounded,
    write_evaluation,
)


def test_what_is_kept_is_read_again_oldest_first(folder):
    for number, date in enumerate(("2026-03-01T00:00:00+00:00", "2025-01-01T00:00:00+00:00")):
        record = {"date": date, "split": "test", "result": {"bleu": number + 0.5}}
        path = write_evaluation(folder, f"test-{number}", record)
        assert path == folder / "evaluations" / f"test-{number}.json"
    (folder / "evaluations" / "damaged.json").write_text('{"result": ')
    (folder / "evaluations" / "other.json").write_text("[1]")
    assert [record["result"]["bleu"] for record in read_evaluations(folder)] == [1.5, 0.5]


def test_a_run_that_was_never_evaluated_has_none(folder):
    assert read_evaluations(folder) == []


def test_digests_distinguish_texts_and_their_borders():
    one, other = corpus_facts(["a", "b"], ["c"]), corpus_facts(["ab"], ["c"])
    assert (one["examples"], other["examples"]) == (2, 1)
    assert corpus_facts(["a\nb"], [])["sources"] != one["sources"]
    assert one["sources"] != other["sources"] and one["references"] == other["references"]


def test_a_folder_that_cannot_be_listed_has_none(folder, monkeypatch):
    """The library of a bucket raises what it likes."""

    def glob(*_):
        raise RuntimeError("no credentials")

    monkeypatch.setattr(type(folder), "glob", glob)
    assert read_evaluations(folder) == []


def test_five_digits_count():
    facts = {"bleu": 93.71248, "loss": 0.000123456789, "step": 1234567, "name": "x", "steps": [1]}
    assert rounded(facts) == facts | {"bleu": 93.712, "loss": 0.00012346}
