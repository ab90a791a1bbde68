import json

from seqjax.studies.trial import Trial, read_curves, read_trial, write_trial


def test_what_came_of_a_trial_is_kept_for_each_config(tmp_path):
    one = Trial({"updates": 8}, {"test": {"loss": 1.5}}, curves={"loss": [[4, 2.0], [8, 1.5]]})
    write_trial(tmp_path, {"seed": 1}, one)
    write_trial(tmp_path, {"seed": 2}, Trial(failure="no luck"))
    assert read_trial(tmp_path, {"seed": 1}) == one
    assert read_trial(tmp_path, {"seed": 2}).outcome == "failed: no luck"
    assert read_trial(tmp_path, {"seed": 3}) == Trial()
    # What is known stays known.
    write_trial(tmp_path, {"seed": 1}, Trial(failure="no"))
    kept = read_trial(tmp_path, {"seed": 1})
    assert (kept.splits, kept.curves, kept.failure) == (one.splits, one.curves, "no")


def test_outcomes_in_words():
    assert Trial().outcome == "not run"
    assert Trial(splits={"test": {}}).outcome == "done"
    assert Trial({"updates": 40}, pruned=40).outcome == "pruned at step 40"


def test_records_of_earlier_versions_lack_what_came_later(tmp_path):
    write_trial(tmp_path, {"seed": 1}, Trial({"updates": 8}, {"test": {"loss": 1.5}}))
    path = tmp_path / "results.json"
    records = json.loads(path.read_text())
    for record in records.values():
        del record["curves"], record["pruned"]
    path.write_text(json.dumps(records))
    assert read_trial(tmp_path, {"seed": 1}) == Trial({"updates": 8}, {"test": {"loss": 1.5}})


def test_curves_are_those_of_the_validation(tmp_path):
    lines = [
        {"step": 4, "validation/loss": 2.0, "validation/bleu": 1.0},
        {"step": 5, "train/loss": 1.0},
        {"step": 8, "validation/loss": "nan", "validation/bleu": 3.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 9, "valid')
    curves = read_curves(tmp_path, ["bleu", "loss", "ter"])
    assert curves["bleu"] == [(4, 1.0), (8, 3.0)]
    assert curves["loss"][0] == (4, 2.0) and curves["loss"][1][1] != curves["loss"][1][1]
    assert curves.keys() == {"bleu", "loss"}
    assert read_curves(tmp_path / "none", ["loss"]) == {}
