"""Values arrive as they were given: each backend's files, read and run as the backend does."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqjax.errors import UserError
from seqjax.submission import cloud, kubernetes, local, slurm, tpu

# Harmless values that some scheduler, shell or parser reads as a part of its own language.
VALUES = (
    "postgresql://user:pa$$word@host/db",
    "postgresql://user:p%40s%24$(HOSTNAME)@host/db",
    "$(JOB_COMPLETION_INDEX) $$(A) $$$ ${HOME} $HOME $ `echo x` $(echo x) \\$A",
    "no",
    "on",
    "1e3",
    "0x10",
    "2026-11-30",
    "null",
    "",
    " ",
    "~",
    'it\'s "quoted" \\ and \\n',
    "two\nlines\n",
    "#SBATCH --time=1\n#SBATCH",
    "END\nEND_\nEOF\n---\n...",
    "%j-%A_%a %% 100%",
    "{a: b}, [c] {{x}} {x} }",
    "a: b # c",
    "- x",
    "; | & < > ( ) * ? [a-z] ! ^ ~user",
    "\ttab\r\x01\x1b[0m",
    "Käse 한국어 😀 \u2028\u0085\ufeff",
    "--processes=9",
    "@file",
)
_TEXTS = st.lists(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), max_size=4
)
_BACKENDS = ("local", "slurm", "slurm array", "tpu", "recipe", "cloud", "kubernetes", "pods")
_STORAGE = "postgresql://me@host/x"
# Prints its arguments and a variable, each with a NUL behind it.
_STUB = '#!/bin/sh\nshift\nprintf "%s\\0" "$@" "$SEQJAX_VALUE"\n'
_GCLOUD = """
gcloud() {
  case $4 in
    describe) echo READY ;;
    ssh) for option in "$@"; do
           case $option in --command=*) printf %s "${option#--command=}" > sent ;; esac
         done ;;
  esac
}
"""


def _shell(script, folder, **environment):
    """Returns what bash prints that runs a script in a folder, split at NUL."""
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().split("\0")[:-1]


class _World:
    """A checkout with a program in place of Python, and what makes jobs that run there."""

    def __init__(self, job, kubelet, folder):
        self._job, self._kubelet, self._here = job, kubelet, folder / "it's 100% $HOME"
        program = self._here / ".venv" / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text(_STUB)
        program.chmod(0o755)
        subprocess.run(["git", "init", "--quiet", str(self._here)], check=True)

    def arrived(self, backend, values):
        """Returns the arguments that the program gets, and the variable."""
        given = {
            "here": self._here,
            "folder": self._here / "runs" / "x",
            "program": (".venv/bin/python", "launch.py"),
            "environment": (("SEQJAX_VALUE", values[0] if values else ""),),
            "arguments": ("sweep" if backend == "slurm array" else "train", *values),
        }
        return getattr(self, f"_{backend.replace(' ', '_')}")(given)

    def _local(self, given):
        # The variables are those of the shell that it is submitted from.
        value = {"SEQJAX_VALUE": given["environment"][0][1]}
        return _shell(local.submission(self._job(**given)).files["run.sh"], "/", **value)

    def _slurm(self, given):
        script = slurm.submission(self._job(**given)).files["job.sbatch"]
        return _shell(f'srun() {{ "$@"; }}\n{script}', "/")

    def _slurm_array(self, given):
        files = slurm.submission(self._job(study=True, **given)).files
        return _shell(f'srun() {{ "$@"; }}\n{files["trials.sbatch"]}', "/", SLURM_ARRAY_TASK_ID="1")

    def _tpu(self, given):
        asked = self._job("gs://bucket/x", devices="tpu-v5e-8", **given)
        task = yaml.safe_load(tpu.submission(asked).files["task.yaml"])
        return _shell(task["run"], task["workdir"])

    def _recipe(self, given):
        asked = self._job("gs://bucket/x", devices="tpu-v5e-8", zone="us-east5-a", **given)
        script = tpu.submission(asked).files["gcloud.sh"]
        _shell(_GCLOUD + script, self._here)
        sent = (self._here / "sent").read_bytes().decode()
        # Nothing is installed; the stub stands for it.
        ran = re.sub(r"(?s)^set -e\n.*?\nuv pip install [^\n]*\n", "", sent)
        return _shell(ran.replace("../job.pid", "job.pid"), self._here)

    def _cloud(self, given):
        asked = self._job("gs://bucket/x", devices="l4", **given)
        task = yaml.safe_load(cloud.submission(asked).files["task.yaml"])
        return _shell(task["run"], task["workdir"])

    def _kubernetes(self, given, **more):
        asked = self._job("gs://bucket/x", image="1e3", **given, **more)
        *_, job = yaml.safe_load_all(kubernetes.submission(asked).files["job.yaml"])
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "1e3"
        command = shlex.join(self._kubelet(container))
        return _shell(command, self._here, JOB_COMPLETION_INDEX="7")

    def _pods(self, given):
        return self._kubernetes(given, nodes=8)


@pytest.fixture(scope="module")
def world(job, kubelet, tmp_path_factory):
    return _World(job, kubelet, tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("backend", _BACKENDS)
@pytest.mark.parametrize("first", [VALUES[0], VALUES[2], VALUES[13], VALUES[21]])
def test_values_arrive_as_given(world, backend, first):
    values = [f"--config.x={value}" for value in (first, *VALUES)]
    *found, variable = world.arrived(backend, values)
    verb, arguments, more = found[0], found[1 : len(values) + 1], found[len(values) + 1 :]
    assert arguments == values and variable == values[0]
    assert verb == ("sweep" if backend == "slurm array" else "train")
    expected = {
        "slurm": ["--processes=auto"],
        "slurm array": ["--trial=simple-gru"],
        "tpu": ["--processes=auto"],
        "recipe": ["--processes=auto"],
        "pods": ["--processes=8", "--process=7", "--coordinator=seqjax-demo-0.seqjax-demo:8476"],
    }
    assert more == expected.get(backend, [])


@pytest.mark.parametrize("backend", _BACKENDS)
@given(values=_TEXTS)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_values_arrive_as_given(world, backend, values):
    values = [f"--config.x={value}" for value in values]
    *found, variable = world.arrived(backend, values)
    assert found[1 : len(values) + 1] == values
    assert variable == (values[0] if values else "")


def _as_sbatch_reads(script):
    """Returns the options in a script's lines of #SBATCH, up to the first line of the shell's.

    A backslash escapes the next character, inside quotes as well; quotes hold spaces together; an
    unescaped '#' begins a comment.
    """
    options = []
    for line in script.split("\n"):
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            options += _words(line.removeprefix("#SBATCH"))
    return options


def _words(line):
    words, word, quote = [], None, ""
    characters = iter(line)
    for character in characters:
        if character == "#":
            break
        if character.isspace() and not quote:
            words += [word] if word is not None else []
            word = None
        elif character == quote:
            quote = ""
        elif character in "\"'" and not quote:
            quote, word = character, word or ""
        else:
            word = (word or "") + (next(characters) if character == "\\" else character)
    return words + ([word] if word is not None else [])


@pytest.mark.parametrize(
    "option, read",
    [
        ("--comment=two words", ["--comment=two words"]),
        ('--comment=it\'s #1 "x" a\\b', ['--comment=it\'s #1 "x" a\\b']),
        ("--constraint=a100&nvme|b", ["--constraint=a100&nvme|b"]),
        ("--export=ALL,A=$B", ["--export=ALL,A=$B"]),
        ("-p gpu", ["-p", "gpu"]),
        ("--mem 4G", ["--mem", "4G"]),
        ("--exclusive", ["--exclusive"]),
    ],
)
def test_sbatch_reads_an_option_as_given(job, option, read):
    script = slurm.submission(job(options=(option,))).files["job.sbatch"]
    options = _as_sbatch_reads(script)
    assert options[-len(read) :] == read
    # Nothing but options, or the values of those before.
    assert all(word.startswith("-") for word in options[: -len(read)])


@pytest.mark.parametrize("name", ["100% of it", "%j", "it's", "a#b", 'say "x"', "ä"])
def test_a_log_lies_in_its_folder(job, name):
    script = slurm.submission(job(folder=Path("/runs") / name)).files["job.sbatch"]
    (output,) = [o for o in _as_sbatch_reads(script) if o.startswith("--output=")]
    # What sbatch makes of %j, and of two percent signs.
    written = re.sub("%[%j]", lambda found: {"%%": "%", "%j": "17"}[found[0]], output)
    assert written == f"--output=/runs/{name}/17.log"


@pytest.mark.parametrize("name", ["a\\b", "a\nb"])
def test_a_folder_that_sbatch_would_misread_is_refused(job, name):
    with pytest.raises(UserError, match="without a backslash or a line break"):
        slurm.submission(job(folder=Path("/runs") / name))


@pytest.mark.parametrize("name", ["a,b", "a b", "it's $HOME", "[x]*", '"q"', "a\\b", "-x"])
@pytest.mark.parametrize("program", ["kubectl", "sky", "nohup"])
def test_the_command_finds_its_file(job, tmp_path, program, name):
    folder = tmp_path / name
    folder.mkdir()
    asked = {"workdir": "gs://bucket/x", "image": "x", "folder": folder}
    module = {"kubectl": kubernetes, "sky": cloud, "nohup": local}[program]
    made = module.submission(job(**(asked if program != "nohup" else {"folder": folder})))
    for file, content in made.files.items():
        (folder / file).write_text(content)
    # The program's place is taken by one that prints the file that it is given.
    stub = tmp_path / "bin" / program
    stub.parent.mkdir()
    last = {"kubectl": "cat", "sky": 'for last; do :; done; cat "$last"', "nohup": 'cat "$2"'}
    stub.write_text(f"#!/bin/sh\n{last[program]}\n")
    stub.chmod(0o755)
    environment = {"PATH": f"{stub.parent}:{os.environ['PATH']}"}
    command = f"{made.command}\nwait"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    (content,) = made.files.values()
    printed = (folder / "run.log").read_text() if program == "nohup" else done.stdout
    assert printed == content * (2 if program == "kubectl" else 1), done.stderr


def test_a_claim_is_a_name_even_if_it_looks_like_a_number(job):
    asked = {"workdir": "/runs/x", "image": "no", "options": ("a=no", "b=1e3", "on=")}
    made = kubernetes.submission(job(volume="123:/runs", **asked))
    pod = yaml.safe_load(made.files["job.yaml"])["spec"]["template"]["spec"]
    assert pod["volumes"][1]["persistentVolumeClaim"] == {"claimName": "123"}
    assert pod["nodeSelector"] == {"a": "no", "b": "1e3", "on": ""}
    assert json.dumps(pod["containers"][0]["image"]) == '"no"'
