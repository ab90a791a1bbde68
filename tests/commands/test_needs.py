import importlib.util

import pytest

from seqjax.commands.command_line import main
from seqjax.commands.needs import check_needs
from seqjax.config import default_config
from seqjax.errors import Unavailable, UserError
from seqjax.measures.translation import check_scorers


def _config(**evaluation):
    config = default_config()
    config.evaluation.update(evaluation)
    return config


@pytest.fixture
def no_mecab():
    if importlib.util.find_spec("MeCab") or importlib.util.find_spec("mecab_ko"):
        pytest.skip("MeCab is installed")


@pytest.mark.parametrize("language", ["ja", "ko"])
def test_a_tokenizer_that_is_not_installed_is_named_with_its_package(language, no_mecab):
    config = _config(tokenize=f"{language}-mecab")
    for verb in ("train", "evaluate", "sweep"):
        with pytest.raises(UserError) as error:
            check_needs(verb, [default_config(), config])
        assert str(error.value) == (
            f"evaluation.tokenize = '{language}-mecab': needs an extra package:"
            f" pip install 'sacrebleu[{language}]'"
        )


def test_what_is_not_used_is_not_needed(no_mecab):
    check_needs("train", [_config(tokenize="ja-mecab", translate=False)])
    check_needs("train", [_config(tokenize="ja-mecab", every="0")])
    check_needs("evaluate", [_config(tokenize="ja-mecab", metrics=("chrf",))])
    config = _config()
    config.reporting.wandb_project = "p"
    check_needs("evaluate", [config])


@pytest.mark.parametrize("tokenize", ["flores101", "flores200", "spBLEU-1K"])
def test_a_model_that_cannot_be_downloaded_may_come_later(tokenize, monkeypatch, tmp_path):
    def away(*_):
        raise OSError("Name or service not known")

    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.SACREBLEU_DIR", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", away)
    with pytest.raises(Unavailable) as error:
        check_needs("evaluate", [_config(tokenize=tokenize)])
    assert str(error.value) == (
        f"evaluation.tokenize = {tokenize!r}: its model, which sacreBLEU downloads once, could not"
        " be had: Name or service not known"
    )


def test_a_model_is_not_downloaded_into_no_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SACREBLEU", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(UserError, match="flores200', SACREBLEU=~/.sacrebleu: expected a path with"):
        check_scorers(("bleu",), False, "flores200")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(bool(importlib.util.find_spec("wandb")), reason="wandb is installed")
def test_a_writer_that_is_not_installed_is_named_with_its_package():
    config = _config()
    config.reporting.wandb_project = "p"
    for verb in ("train", "sweep"):
        with pytest.raises(UserError, match=r"pip install 'seqjax\[wandb\]'"):
            check_needs(verb, [config])


def test_nothing_is_begun_without_what_is_needed(no_mecab, tmp_path, capsys):
    options = ["--config=configs/demo.py", "--config.evaluation.tokenize=ja-mecab"]
    assert main(["train", *options, f"--workdir={tmp_path / 'run'}"]) == 2
    assert "sacrebleu[ja]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
