"""The studies under experiments/: every trial is a valid config and finds its corpus."""

from pathlib import Path

import pytest

from seqjax.data.corpus import open_corpus
from seqjax.studies.study_files import load_study

_ROOT = Path(__file__).parents[2]
_PAIRS = {"multi30k_architectures": 5, "multi30k_decoder_only": 3, "grapheme_to_phoneme": 16}
_PAIRS |= {"scan": 9, "demo_seeds": 16}
_TEXTS = {"shakespeare": 6, "shakespeare_rates": 8, "names": 5}
_LISTS = _PAIRS | _TEXTS
_STUDIES = _LISTS | {"demo_search": 24}


def _load(name):
    return load_study(str(_ROOT / "experiments" / name / "study.py"))


def test_every_study_is_tested(project_files):
    found = {path.parent.name for path in project_files("experiments/*/study.py")}
    assert found == set(_STUDIES)


@pytest.mark.parametrize("name", _STUDIES)
def test_every_trial_is_valid_also_with_a_small_budget(name):
    study = _load(name)
    assert len(study.names) == _STUDIES[name]
    assert set(study.specs("study.py", [])) == (set(study.names) if name in _LISTS else set())
    study.specs("study.py", [("train.duration", "1 step")])


@pytest.mark.parametrize("name", _STUDIES)
def test_the_readme_names_the_command_and_what_is_compared(name):
    text = (_ROOT / "experiments" / name / "README.md").read_text(encoding="utf-8")
    assert f"python launch.py sweep --study=experiments/{name}/study.py" in text
    study = _load(name)
    trials = study.names if name in _LISTS else study.space
    for part in {trial.partition("-")[0] for trial in trials}:
        assert f"`{part}`" in text


@pytest.mark.parametrize(
    "name, objective",
    [("multi30k_architectures", "bleu"), ("grapheme_to_phoneme", "exact_match")]
    + [("scan", "exact_match"), ("demo_seeds", "loss"), ("demo_search", "loss")]
    + [("multi30k_decoder_only", "bleu"), *((name, "loss") for name in _TEXTS)],
)  # fmt: skip
def test_a_study_ranks_by_the_measure_of_its_task(name, objective):
    assert _load(name).objective == objective


@pytest.mark.parametrize("name", _PAIRS)
def test_every_trial_finds_its_corpus(name, real_data, monkeypatch):
    monkeypatch.setenv("SEQJAX_DATA", str(real_data))
    for config in _load(name).trials.values():
        for split in ("train", "validation", "test"):
            corpus = open_corpus(config.data, split)
            assert len(corpus) >= 1000
            assert all(corpus[len(corpus) - 1].values())


@pytest.mark.parametrize("name", _TEXTS)
def test_every_language_model_finds_its_text(name, real_data, monkeypatch):
    monkeypatch.setenv("SEQJAX_DATA", str(real_data))
    study = _load(name)
    for trial in study.names:
        config = study.variant(trial)
        for split in ("train", *study.splits):
            corpus = open_corpus(config.data, split, ("text",))
            assert sum(len(corpus[i]["text"]) for i in range(len(corpus))) > 5000


def test_no_command_of_scan_is_cut_short(real_data, monkeypatch):
    monkeypatch.setenv("SEQJAX_DATA", str(real_data))
    for config in _load("scan").trials.values():
        corpus = open_corpus(config.data, "test")
        longest = max(len(corpus[i]["target"].split()) for i in range(len(corpus)))
        assert longest + 1 <= config.decode.max_length_extra
        assert config.decode.max_length_ratio == 0
