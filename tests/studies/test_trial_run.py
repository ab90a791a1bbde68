import dataclasses
import threading

import pytest

from seqjax.config import default_config
from seqjax.studies.launcher import Outcome
from seqjax.studies.study import Study
from seqjax.studies.trial import Trial
from seqjax.studies.trial_run import TrialRun


@pytest.fixture
def run(tmp_path):
    """Returns a function that makes a trial, and the verbs that it has launched."""

    def make(outcomes, **fields):
        config = default_config()
        config.update_from_flattened_dict(fields)
        study = Study("s", {"a": default_config()}, splits=("test",))
        spec = dataclasses.replace(study.specs("study.py", [])["a"], given=config)
        trial = TrialRun(spec, tmp_path, study, "study.py")

        def launch(arguments, stop, show):
            phases.append(trial.phase)
            outcome = outcomes[len(phases) - 1]
            if callable(outcome):
                outcome = outcome(stop)
            return outcome

        phases = []
        return trial, phases, launch

    return make


def test_values_that_do_not_fit_are_reported_before_anything_runs(run):
    trial, phases, launch = run([], **{"model.encoder.heads": 3})
    assert trial.run(launch, print) == 0
    assert phases == [] and trial.recorded().failure.startswith("model.encoder.heads = 3: expected")


def test_what_is_done_is_printed_while_it_is_done(run):
    trial, phases, launch = run([Outcome(2, "", "seqjax: error: no")])
    assert trial.run(launch, print) == 0
    assert phases == ["train"] and trial.phase == ""
    assert trial.recorded().outcome == "failed: no"


def test_a_signal_leaves_no_record(run):
    trial, _, launch = run([Outcome(143, "", "saved", signal=15)])
    assert trial.run(launch, print) == 15
    assert trial.recorded() == Trial() and trial.state() == "to train"


@pytest.mark.parametrize("code", [0, 143])
def test_a_trial_that_is_stopped_leaves_no_record_but_that_it_was_pruned(run, code):
    def stopped(stop):
        stop.set()
        return Outcome(code, "", "saved")

    trial, phases, launch = run([stopped])
    assert isinstance(trial.stop, threading.Event)
    assert trial.run(launch, print) == 0
    assert phases == ["train"] and trial.recorded() == Trial()
    lines = '{"step": 4, "validation/loss": 2.5}\n{"step": 5, "train/seconds": 1.5}\n'
    (trial.folder).mkdir()
    (trial.folder / "metrics.jsonl").write_text(lines + '{"step": 6, "validation/loss": "nan"}\n')
    trial.record_pruned()
    assert trial.recorded().outcome == "pruned at step 5"
    assert trial.recorded().curves == {"loss": [[4, 2.5]]}
