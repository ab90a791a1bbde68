#!/usr/bin/env bash
# Runs on this machine until the job is over; started again, it goes on.
set -uo pipefail
NAME=seqjax-demo
ZONE="us-east5-a"
PAUSE=${PAUSE:-60}
on_tpu() {
  local verb=$1; shift; gcloud compute tpus tpu-vm "$verb" "$@" --zone="$ZONE"
}
state() { on_tpu describe "$NAME" --format='value(state)' 2>/dev/null; }
read -r -d '' RUN <<'END'
set -e
old=$(cat job.pid 2>/dev/null || true)
if grep -qs launch.py "/proc/$old/cmdline"; then
  kill "$old" || true
  timeout 120 tail --pid="$old" -f /dev/null || kill -KILL "$old"
fi
mkdir -p seqjax; tar -xzf code.tgz -C seqjax; cd seqjax
export PATH="$HOME/.local/bin:$PATH"
command -v uv || curl -LsSf https://astral.sh/uv/install.sh | sh
uv venv --allow-existing --python 3.12 .venv
uv pip install --python .venv/bin/python -c constraints.txt -e '.[tpu,gs]'
echo $$ > ../job.pid
exec .venv/bin/python launch.py train --config=configs/demo.py '--config.train.duration=500 steps' --workdir=gs://bucket/runs/demo --processes=auto
END
CODE=$(mktemp) || exit
cd /home/me/seqjax || exit
git ls-files -co --exclude-standard -z |
  while IFS= read -r -d '' file; do
    [ ! -e "$file" ] || printf '%s\0' "$file"
  done |
  tar --null -T - -czf "$CODE" || exit
while true; do
  if [ "$(state)" != READY ]; then
    [ -z "$(state)" ] || on_tpu delete "$NAME" --quiet
    answer=$(on_tpu create "$NAME" --spot \
      --accelerator-type=v5litepod-16 --version=v2-alpha-tpuv5-lite 2>&1)
    code=$?
    echo "$answer" >&2
    # Where there is no capacity now, there may be some later.
    if [ "$code" != 0 ] && [[ $answer == *capacity* ]]; then sleep "$PAUSE"; continue; fi
    [ "$code" = 0 ] || exit "$code"
  fi
  on_tpu scp "$CODE" "$NAME:code.tgz" --worker=all &&
    on_tpu ssh "$NAME" --worker=all --command="$RUN" && break
  code=$?
  # A pod that is taken away says so only after a while.
  sleep "$PAUSE"
  # 75 and 143: saved; the same command goes on from there.
  if [ "$code" != 75 ] && [ "$code" != 143 ] && [ "$(state)" = READY ]; then
    echo "the job failed ($code); the pod is still there:" >&2
    echo "  gcloud compute tpus tpu-vm delete $NAME --zone=$ZONE" >&2
    exit "$code"
  fi
done
on_tpu delete "$NAME" --quiet
