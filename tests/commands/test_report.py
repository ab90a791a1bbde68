import pytest

from seqjax.commands.command_line import main
from seqjax.config import default_config
from seqjax.fields import save
from seqjax.studies.results import as_result
from seqjax.studies.snapshot import take_snapshot, write_snapshot
from seqjax.studies.study import Study
from seqjax.studies.trial import Trial


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "my run"
    folder.mkdir()
    save(default_config(), folder / "config.json")
    (folder / "metrics.jsonl").write_text('{"step": 7, "train/loss": 2.5}\n')
    return folder


@pytest.fixture
def swept(tmp_path):
    configs = {"a": default_config(), "b": default_config()}
    configs["b"].seed = 2
    study = Study("Two seeds", configs, splits=("test",), columns=("loss",))
    results = []
    for name, spec in study.specs("study.py", []).items():
        trial = Trial(splits={"test": {"loss": 1.0 + len(results)}}) if name == "a" else Trial()
        results.append(as_result(spec, trial, study.value(trial)))
    folder = tmp_path / "swept"
    folder.mkdir()
    write_snapshot(folder, take_snapshot(study, results, {}))
    return folder


@pytest.mark.parametrize("option", ["{}", "--workdir={}"])
def test_a_run_is_summarized_and_has_a_page(run, capsys, option):
    assert main(["report", option.format(run)]) == 0
    out, error = capsys.readouterr()
    assert out.startswith("state") and "training loss" in out
    assert f"report: {run / 'report.html'}\n" in error
    assert "<h2>Training</h2>" in (run / "report.html").read_text()


def test_a_sweep_is_written_anew(swept, capsys):
    assert main(["report", str(swept)]) == 0
    out, error = capsys.readouterr()
    assert "| a | 0 | 1.000 | done |" in out and "2 trials: 1 done, 1 not run." in out
    assert f"report: {swept / 'results.html'}\n" in error
    assert "Two seeds" in (swept / "results.html").read_text()


def test_the_page_may_lie_elsewhere(run, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["report", str(run), f"--output={page}"]) == 0
    assert page.exists() and not (run / "report.html").exists()


def test_a_folder_that_cannot_be_written_costs_no_numbers(run, capsys):
    (run / "report.html").mkdir()
    assert main(["report", str(run)]) == 2
    out, error = capsys.readouterr()
    assert "training loss" in out
    assert "; --output=FILE writes the page elsewhere" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "report: expected one folder, RUN or --workdir=RUN; neither was given"),
        (["a", "--workdir=b"], "RUN or --workdir=RUN; both a and --workdir=b were given"),
        (["nowhere"], "nowhere: expected a run (with config.json) or a sweep (with study.json)"),
        (["a", "--config.seed=1"], "--config.seed=1: expected no overrides; a report only reads"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert main(["report", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == "" and message in error and error.count("\n") == 1
