import os
import re
import signal
import subprocess
import sys
import tarfile
import threading

import pytest
import yaml

from seqjax.errors import UserError
from seqjax.submission import tpu


def test_the_files_of_a_run_are_the_golden_ones(job, same_as_golden):
    asked = job("gs://bucket/runs/demo", devices="tpu-v5e-16", zone="us-east5-a")
    same_as_golden(tpu.submission(asked), "tpu")


@pytest.mark.parametrize(
    "devices, accelerators, runtime",
    [
        ("tpu-v3-8", "tpu-v3-8", "tpu-ubuntu2204-base"),
        ("tpu-v4-32", "tpu-v4-32", "tpu-ubuntu2204-base"),
        ("tpu-v5e-4", "tpu-v5litepod-4", "v2-alpha-tpuv5-lite"),
        ("tpu-v5p-8", "tpu-v5p-8", "v2-alpha-tpuv5"),
        ("tpu-v6e-16", "tpu-v6e-16", "v2-alpha-tpuv6e"),
    ],
)
def test_a_slice_is_called_as_google_calls_it(job, devices, accelerators, runtime):
    found = tpu.submission(job("gs://bucket/x", devices=devices))
    resources = yaml.safe_load(found.files["task.yaml"])["resources"]
    assert (resources["infra"], resources["accelerators"]) == ("gcp", accelerators)
    assert resources["accelerator_args"] == {"runtime_version": runtime}
    made = f"--accelerator-type={accelerators.removeprefix('tpu-')} --version={runtime} 2>&1"
    assert made in found.files["gcloud.sh"]
    # Without a zone the recipe asks for one.
    assert 'ZONE="${ZONE:?' in found.files["gcloud.sh"]
    assert found.otherwise.startswith("ZONE=us-east5-a bash ")


def test_machines_that_are_not_taken_away_are_asked_for(job):
    for on_demand in (True, False):
        asked = job("gs://bucket/x", devices="tpu-v5e-8", on_demand=on_demand)
        script = tpu.submission(asked).files["gcloud.sh"]
        assert ('create "$NAME" --spot' in script) != on_demand


def test_a_machine_with_tpus_trains_one_trial_at_a_time(job):
    asked = {"study": True, "storage": "postgresql://me@host/x", "devices": "tpu-v5e-8"}
    with pytest.raises(UserError, match="--workers=2: expected 1, since a process takes all TPUs"):
        tpu.submission(job("gs://bucket/x", workers=2, **asked))


def _packing(found):
    """Returns the lines of the recipe that pack the code."""
    script = found.files["gcloud.sh"]
    return "set -uo pipefail\n" + script[script.index("CODE=") : script.index("while true")]


def test_the_machines_get_what_git_would_take(job, tmp_path):
    code, out = tmp_path / "it's code", tmp_path / "code.tgz"
    for name in ("a b.py", "gone.py", "seqjax/runs/kept.py", ".venv/big", "runs/x/log", "x.pyc"):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text(name)
    (code / ".gitignore").write_text("/.venv/\n/runs/\n*.pyc\n")
    git = ["git", "-C", str(code)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "gone.py"], check=True)
    (code / "gone.py").unlink()
    found = tpu.submission(job("gs://bucket/x", devices="tpu-v5e-8", here=code))
    subprocess.run(["bash", "-c", f'{_packing(found)}cp "$CODE" "{out}"'], check=True)
    with tarfile.open(out) as packed:
        assert set(packed.getnames()) == {".gitignore", "a b.py", "seqjax/runs/kept.py"}


def test_without_git_nothing_is_made(job, tmp_path):
    found = tpu.submission(job("gs://bucket/x", devices="tpu-v5e-8", here=tmp_path))
    # The folder may lie in a repository.
    environment = {"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run(
        ["bash", "-c", f"{_packing(found)}echo went on"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode != 0 and done.stdout == "" and "not a git repository" in done.stderr


# A function in gcloud's place: pods are a file with their state, and what is said to `create` and
# `ssh` is the next line of a file: exit code, state, message.
_CLOUD = """
gcloud() {
  local verb=$4 code=0 state reported
  [ "$verb" = describe ] || echo "$verb" >> asked
  case $verb in
    describe) cat state 2>/dev/null; return ;;
    delete) rm -f state; return ;;
    create | ssh)
      read -r code state reported < $verb
      sed -i 1d $verb
      case $state in gone) rm -f state ;; *) echo "$state" > state ;; esac
      echo "$reported" >&2 ;;
  esac
  return "$code"
}
"""
_CAPACITY = 'There is no more capacity in the zone "us-east5-a"'


@pytest.mark.parametrize(
    "create, ssh, code, asked",
    [
        (["0 READY"], ["0 READY"], 0, "create scp ssh delete"),
        # Told to stop, then taken away, then no capacity twice.
        (
            ["0 READY", f"1 gone {_CAPACITY}", f"1 STOPPED {_CAPACITY}", "0 READY"],
            ["143 READY", "255 PREEMPTED", "0 READY"],
            0,
            "create scp ssh scp ssh delete create create delete create scp ssh delete",
        ),
        (["0 READY"], ["2 READY"], 2, "create scp ssh"),
        (["1 gone Quota limit exceeded"], [], 1, "create"),
    ],
)
def test_the_recipe_goes_on_until_the_job_is_over(job, tmp_path, create, ssh, code, asked):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name, lines in (("create", create), ("ssh", ssh)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    found = tpu.submission(
        job("gs://bucket/x", devices="tpu-v5e-8", zone="us-east5-a", here=tmp_path)
    )
    done = subprocess.run(
        ["bash", "-c", _CLOUD + found.files["gcloud.sh"]],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PAUSE": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, (tmp_path / "asked").read_text().split()) == (code, asked.split())
    assert ("the pod is still there" in done.stderr) == (code == 2)


def test_a_job_that_still_runs_is_ended_before_it_is_begun_anew(job, tmp_path):
    script = tpu.submission(job("gs://bucket/x", devices="tpu-v5e-8")).files["gcloud.sh"]
    ending = script[script.index("set -e\n") : script.index("mkdir -p seqjax")]
    assert script.index('kill "$old"') < script.index("echo $$ > ../job.pid\nexec ")
    code = "import sys, time; print(flush=True); time.sleep(100)"
    command = [sys.executable, "-c", code]
    for arguments, ended in ((["launch.py", "train"], True), (["other.py"], False)):
        with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE) as old:
            # A thread takes what it leaves, as the first process of a machine does.
            waiting = threading.Thread(target=old.wait)
            waiting.start()
            old.stdout.readline()
            (tmp_path / "job.pid").write_text(f"{old.pid}\n")
            subprocess.run(["bash", "-c", ending], cwd=tmp_path, check=True, timeout=60)
            waiting.join(0 if not ended else 10)
            assert (old.returncode == -signal.SIGTERM) == ended
            old.kill()
            waiting.join()
    (tmp_path / "job.pid").unlink()
    subprocess.run(["bash", "-c", ending], cwd=tmp_path, check=True)


def test_a_study_takes_one_machine(job):
    storage = "postgresql://me@host/scan"
    found = tpu.submission(job("gs://bucket/x", devices="tpu-v5e-8", study=True, storage=storage))
    assert "launch.py sweep --study=" in found.files["task.yaml"]
    assert "--processes" not in found.files["task.yaml"]


@pytest.mark.parametrize(
    "asked, reported",
    [
        ({}, "--devices=: --on=tpu expects a slice such as tpu-v5e-16"),
        ({"devices": "h100x8"}, "--devices=h100x8: --on=tpu expects a slice"),
        ({"devices": "tpu-v5e-8", "workdir": "runs/x"}, "--workdir=runs/x: expected a bucket"),
        ({"devices": "tpu-v5e-16", "study": True}, "--storage=: expected a database"),
        (
            {"devices": "tpu-v5e-16", "study": True, "storage": "postgresql://me@host/scan"},
            "expected one machine, as tpu-v5e-8 is",
        ),
    ],
)
def test_what_it_cannot_run_is_refused(job, asked, reported):
    with pytest.raises(UserError, match=re.escape(reported)):
        tpu.submission(job(**({"workdir": "gs://bucket/x"} | asked)))
