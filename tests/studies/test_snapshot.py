import json
import math
import subprocess
import sys

import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.studies.results import as_result
from seqjax.studies.search import Search
from seqjax.studies.snapshot import judged, read_snapshot, take_snapshot, write_snapshot
from seqjax.studies.space import choice, integers, log_uniform
from seqjax.studies.study import Study
from seqjax.studies.trial import Trial, write_trial

_SPACE = {
    "optimizer.learning_rate": log_uniform(1e-4, 1e-1),
    "seed": integers(1, 5, 2),
    "evaluation.metrics": choice(("bleu",), ("bleu", "ter")),
}


@pytest.fixture
def search():
    search = Search("Rates", default_config(), _SPACE, "loss", trials=3)
    results = []
    point = {"optimizer.learning_rate": 1e-3, "seed": 3, "evaluation.metrics": ("bleu", "ter")}
    for name in search.names[:2]:
        spec = search.spec("s.py", name, point, [])
        results.append(as_result(spec, Trial(), None, "waiting", f"id of {name}"))
    return take_snapshot(search, results, _SPACE)


def test_a_snapshot_is_read_back_as_it_was(search, tmp_path):
    write_snapshot(tmp_path, search)
    back = read_snapshot(tmp_path)
    for name in ("name", "objective", "judge", "by", "columns", "planned", "domains", "searched"):
        assert getattr(back, name) == getattr(search, name)
    assert [result.fields for result in back.results] == [r.fields for r in search.results]
    assert [result._replace(state="") for result in back.results] == [
        result._replace(state="") for result in search.results
    ]


def test_trials_are_looked_up_in_their_folders(search, tmp_path):
    first, second = search.results
    write_snapshot(tmp_path, search)
    curves = {"loss": [[10, 5.0], [20, 4.0]]}
    trial = Trial({"updates": 20}, {"validation": {"loss": 4.5}}, curves=curves)
    config = {"seed": 3}
    write_trial(tmp_path / first.name, config, trial)
    (record,) = json.loads((tmp_path / first.name / "results.json").read_text())
    search.results[0] = first._replace(identity=record)
    write_snapshot(tmp_path, search)
    run = tmp_path / second.name
    run.mkdir()
    lines = [{"step": 7, "train/seconds": 1.5}, {"step": 8, "validation/loss": "nan"}]
    lines += [{"step": 16, "validation/loss": 3.0}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done, begun = read_snapshot(tmp_path).results
    assert (done.outcome, done.value) == ("done", 4.0)
    assert (begun.value, begun.running) == (3.0, False)
    with (run / ".lock").open("w") as lock:
        hold = "import fcntl,sys,time; f=open(sys.argv[1],'a'); fcntl.lockf(f, fcntl.LOCK_EX);"
        hold += "print('held', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", hold, lock.name]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdout.readline() == b"held\n"
        _, running = read_snapshot(tmp_path).results
        holder.communicate()
    assert running.outcome == "running, step 16"


def test_the_objective_is_finite_and_of_the_judging_split(search):
    trial = Trial(curves={"loss": [(1, math.nan), (2, -math.inf), (3, 2.0), (4, 3.0)]})
    assert judged(search, trial) == 2.0
    study = Study("s", {"a": default_config()}, columns=("bleu",))
    snapshot = take_snapshot(study, [], {})
    splits = {"validation": {"bleu": 3.0}, "test": {"bleu": 4.0}}
    assert judged(snapshot, Trial(splits=splits)) == study.value(Trial(splits=splits)) == 3.0
    assert judged(snapshot, Trial(splits={"validation": {"bleu": math.nan}})) is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"domains": {"a": {"kind": "x"}}}'])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(UserError, match="study.json: expected what a sweep writes"):
        read_snapshot(tmp_path)
