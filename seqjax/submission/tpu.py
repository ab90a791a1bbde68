"""Cloud TPUs: a task of SkyPilot, and a script that does the same with gcloud."""

import shlex

from seqjax.errors import UserError
from seqjax.submission import skypilot
from seqjax.submission.job import (
    AGAIN,
    Job,
    Submission,
    require_bucket,
    require_corpora,
    require_storage,
    text,
)

OPTIONS = ("devices", "zone", "on_demand")

# Google's names of slices that differ from ours, and the software versions of their machines.
# https://cloud.google.com/tpu/docs/runtimes
_TYPES = {"tpu-v5e": "v5litepod"}
_RUNTIMES = {
    "tpu-v5e": "v2-alpha-tpuv5-lite",
    "tpu-v5p": "v2-alpha-tpuv5",
    "tpu-v6e": "v2-alpha-tpuv6e",
}
_OLDER_RUNTIME = "tpu-ubuntu2204-base"
# Slices up to this number in their names are one machine.
_ONE_MACHINE = 8

# A job that a lost connection left running is stopped, and saves, before it is started again.
_ALONE = (
    "old=$(cat job.pid 2>/dev/null || true)",
    'if grep -qs launch.py "/proc/$old/cmdline"; then',
    '  kill "$old" || true',
    '  timeout 120 tail --pid="$old" -f /dev/null || kill -KILL "$old"',
    "fi",
)


def submission(job: Job) -> Submission:
    """Returns `task.yaml` for SkyPilot, and `gcloud.sh`, which needs only gcloud."""
    slice_ = job.devices
    if slice_ is None or not slice_.is_tpu:
        given = slice_.name if slice_ else ""
        raise UserError(f"--devices={given}: --on=tpu expects a slice such as tpu-v5e-16")
    require_bucket(job, "the disk of a TPU's machine goes with it")
    require_storage(job)
    require_corpora(job)
    if job.is_study and slice_.number > _ONE_MACHINE:
        raise UserError(
            f"--devices={slice_.name}: expected one machine, as {slice_.kind}-{_ONE_MACHINE} is,"
            " since a trial runs on one"
        )
    kind = f"{_TYPES.get(slice_.kind, slice_.kind.removeprefix('tpu-'))}-{slice_.number}"
    runtime = _RUNTIMES.get(slice_.kind, _OLDER_RUNTIME)
    # Each trial of a study is a separate process.
    if job.workers > 1:
        raise UserError(
            f"--workers={job.workers}: expected 1, since a process takes all TPUs of its machine"
        )
    command = (
        skypilot.command_of(job) if job.is_study else skypilot.command_of(job, "--processes=auto")
    )
    install = skypilot.install(skypilot.extras(job, "tpu"))
    resources = {
        "infra": _infra(job.zone),
        "accelerators": f"tpu-{kind}",
        "accelerator_args": {"runtime_version": runtime},
    }
    found = skypilot.submission(job, resources, install, [*job.exports, command])
    recipe = _recipe(job, kind, runtime, install, command)
    path = shlex.quote(str(job.folder / "gcloud.sh"))
    note = f"{found.note}; gcloud.sh does not hand it on" if found.note else ""
    return found._replace(
        note=note,
        files={**found.files, "gcloud.sh": recipe},
        otherwise=f"bash {path}" if job.zone else f"ZONE=us-east5-a bash {path}",
    )


def _infra(zone: str) -> str:
    return f"gcp/{zone.rpartition('-')[0]}/{zone}" if zone else "gcp"


def _packed(job: Job) -> list[str]:
    """Returns shell lines that pack the files that git tracks or would add into $CODE."""
    here = shlex.quote(str(job.here))
    return [
        "CODE=$(mktemp) || exit",
        f"cd {here} || exit",
        "git ls-files -co --exclude-standard -z |",
        # Files that were deleted without a commit are still listed.
        "  while IFS= read -r -d '' file; do",
        """    [ ! -e "$file" ] || printf '%s\\0' "$file\"""",
        "  done |",
        '  tar --null -T - -czf "$CODE" || exit',
    ]


def _recipe(job: Job, kind: str, runtime: str, install: list[str], command: str) -> str:
    """Returns a script that makes a pod, copies the code, runs it on all machines, and cleans up.

    A preempted spot pod is made again, and the run continues from its last checkpoint.
    """
    zone = job.zone or "${ZONE:?the zone of the TPUs, as in us-east5-a}"
    script = text(
        "set -e",
        *_ALONE,
        "mkdir -p seqjax; tar -xzf code.tgz -C seqjax; cd seqjax",
        *install,
        *job.exports,
        "echo $$ > ../job.pid",
        f"exec {command}",
    )
    end = _free_word("END", script)
    again = " && ".join(f'[ "$code" != {code} ]' for code in AGAIN)
    return text(
        "#!/usr/bin/env bash",
        "# Runs on this machine until the job is over; started again, it goes on.",
        "set -uo pipefail",
        f"NAME={job.name}",
        f'ZONE="{zone}"',
        "PAUSE=${PAUSE:-60}",
        "on_tpu() {",
        '  local verb=$1; shift; gcloud compute tpus tpu-vm "$verb" "$@" --zone="$ZONE"',
        "}",
        "state() { on_tpu describe \"$NAME\" --format='value(state)' 2>/dev/null; }",
        f"read -r -d '' RUN <<'{end}'",
        script + end,
        *_packed(job),
        "while true; do",
        '  if [ "$(state)" != READY ]; then',
        '    [ -z "$(state)" ] || on_tpu delete "$NAME" --quiet',
        f'    answer=$(on_tpu create "$NAME"{"" if job.on_demand else " --spot"} \\',
        f"      --accelerator-type={kind} --version={runtime} 2>&1)",
        "    code=$?",
        '    echo "$answer" >&2',
        "    # Where there is no capacity now, there may be some later.",
        '    if [ "$code" != 0 ] && [[ $answer == *capacity* ]]; then sleep "$PAUSE"; continue; fi',
        '    [ "$code" = 0 ] || exit "$code"',
        "  fi",
        '  on_tpu scp "$CODE" "$NAME:code.tgz" --worker=all &&',
        '    on_tpu ssh "$NAME" --worker=all --command="$RUN" && break',
        "  code=$?",
        "  # A pod that is taken away says so only after a while.",
        '  sleep "$PAUSE"',
        f"  # {AGAIN[0]} and {AGAIN[1]}: saved; the same command goes on from there.",
        f'  if {again} && [ "$(state)" = READY ]; then',
        '    echo "the job failed ($code); the pod is still there:" >&2',
        '    echo "  gcloud compute tpus tpu-vm delete $NAME --zone=$ZONE" >&2',
        '    exit "$code"',
        "  fi",
        "done",
        'on_tpu delete "$NAME" --quiet',
    )


def _free_word(word: str, script: str) -> str:
    """Returns a word that is no line of a script, to end a here-document with."""
    while word in script.split("\n"):
        word += "_"
    return word
