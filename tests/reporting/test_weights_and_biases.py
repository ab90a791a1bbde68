import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from seqjax.errors import UserError
from seqjax.reporting.weights_and_biases import require_key

_SETTINGS = {
    "mode": "online",
    "api_key": None,
    "identity_token_file": None,
    "base_url": "https://wandb.example:8080",
}


@pytest.fixture
def settled(monkeypatch, tmp_path):
    """Returns a function that gives W&B settings, in a home without any key."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)

    def settle(**changes):
        settings = SimpleNamespace(**_SETTINGS | changes)
        wandb = SimpleNamespace(setup=lambda: SimpleNamespace(settings=settings))
        monkeypatch.setitem(sys.modules, "wandb", wandb)

    return settle


def test_without_a_key_nothing_begins(settled):
    settled()
    require_key("")
    with pytest.raises(UserError, match=r"^reporting.wandb_project = 'p': expected an API key"):
        require_key("p")


@pytest.mark.parametrize(
    "changes",
    [{"mode": "offline"}, {"mode": "disabled"}, {"api_key": "k"}, {"identity_token_file": "f"}],
)
def test_a_key_or_none_needed(settled, changes):
    settled(**changes)
    require_key("p")


@pytest.mark.parametrize(("host", "known"), [("wandb.example", True), ("other.example", False)])
def test_a_key_in_the_netrc_of_that_host(settled, tmp_path, monkeypatch, host, known):
    settled()
    (tmp_path / "keys").write_text(f"machine {host} login user password k\n")
    (tmp_path / "keys").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "keys"))
    if known:
        require_key("p")
    else:
        with pytest.raises(UserError):
            require_key("p")


@pytest.mark.parametrize("variable", ["", "WANDB_API_KEY=" + "0" * 40, "WANDB_MODE=offline"])
def test_the_real_one_is_asked(variable, tmp_path):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = kept | {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    name, _, value = variable.partition("=")
    program = "from seqjax.reporting.weights_and_biases import require_key; require_key('p')"
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env=environment | ({name: value} if name else {}),
        capture_output=True,
        text=True,
    )
    assert (found.returncode == 0) == bool(variable), found.stderr
    assert variable or "expected an API key" in found.stderr
