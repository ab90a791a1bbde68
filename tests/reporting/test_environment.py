"""What environment.json says of a run, and that it never stops one."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jax
import pytest

from seqjax.config_files import load_config_file
from seqjax.reporting.environment import code_version, own_files, record_environment


def git(directory, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    try:
        git(tmp_path, "init", "-q", "checkout")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    git(package, "add", ".")
    git(package, "commit", "-q", "-m", "first")
    return package


def test_a_session_names_versions_devices_and_command(tmp_path):
    record_environment(tmp_path / "run")
    (session,) = json.loads((tmp_path / "run" / "environment.json").read_text())["sessions"]
    assert session["packages"]["jax"] == jax.__version__
    assert None not in [session["packages"][name] for name in ("flax", "optax", "orbax-checkpoint")]
    assert session["python"] == ".".join(map(str, sys.version_info[:3]))
    assert sum(entry["count"] for entry in session["devices"]) == jax.device_count()
    assert session["devices"][0]["kind"] == jax.devices()[0].device_kind
    assert session["processes"] == 1
    assert "pytest" in session["command"] or "-c" in session["command"]
    age = datetime.now(UTC) - datetime.fromisoformat(session["started"])
    assert 0 <= age.total_seconds() < 60


def test_config_files_and_what_they_import_are_named_by_digest(checkout):
    """Untracked files, which no commit describes."""
    (checkout / "mine.py").write_text(
        "from seqjax.config import default_config\nfrom beside_mine import SEED\n"
        "def get_config():\n    c = default_config()\n    c.seed = SEED\n    return c\n"
    )
    (checkout / "beside_mine.py").write_text("SEED = 3\n")
    git(checkout, "add", "beside_mine.py")
    assert load_config_file(str(checkout / "mine.py")).seed == 3
    # Other tests of this process have loaded files of the same names from elsewhere.
    found = {file["path"]: file for file in own_files()}
    for name, tracked in (("mine.py", False), ("beside_mine.py", True)):
        path = checkout / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found[str(path)] == {"path": str(path), "sha256": digest, "tracked": tracked}
    assert not {"numpy", "jax", "seqjax"} & {Path(f["path"]).parent.name for f in own_files()}


def test_a_resumed_run_adds_a_session(folder):
    record_environment(folder)
    first = json.loads((folder / "environment.json").read_text())["sessions"]
    record_environment(folder)
    both = json.loads((folder / "environment.json").read_text())["sessions"]
    assert len(both) == 2 and both[:1] == first
    assert [path.name for path in folder.iterdir()] == ["environment.json"]


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"sessions": 3}'])
def test_a_damaged_record_does_not_keep_a_run_from_starting(folder, damage):
    (folder / "environment.json").write_text(damage)
    record_environment(folder)
    assert len(json.loads((folder / "environment.json").read_text())["sessions"]) == 1


def test_commit_and_changes_of_a_checkout(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert code_version(checkout) == (commit, False)
    # A run directory inside the checkout is no change of the code.
    (checkout / "metrics.jsonl").write_text("{}")
    assert code_version(checkout) == (commit, False)
    (checkout / "__init__.py").write_text("changed = True")
    assert code_version(checkout) == (commit, True)


def test_no_commit_outside_or_of_someone_elses_checkout(checkout, tmp_path):
    assert code_version(tmp_path) == (None, None)
    installed = checkout / "site-packages" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert code_version(installed) == (None, None)
