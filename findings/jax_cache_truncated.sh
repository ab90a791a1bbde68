#!/usr/bin/env bash
# JAX never replaces a compiled program whose entry in the persistent cache was cut off.
#
# A training that is killed, or whose disk is full, while an entry is written leaves a part of it.
# One would expect the next process to compile the program, as it does, and to write the entry
# again. But an entry that exists is never written, whatever it holds: each process that comes warns
# of it and compiles anew, until somebody deletes the file. You meet it as a job that is slow to
# start every time, on one machine.
# Seen on 2026-12-01.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
cat > "$tmp/program.py" <<'PY'
import sys
import warnings

import jax
import jax.numpy as jnp

jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    jax.jit(lambda x: jnp.tanh(x @ x).sum())(jnp.ones((8, 8))).block_until_ready()
print(sum("Error reading persistent compilation cache" in str(w.message) for w in caught))
PY
export JAX_PLATFORMS=cpu
run() { "$tmp/venv/bin/python" "$tmp/program.py" "$tmp/cache"; }
sizes() { stat -c %s "$tmp"/cache/*-cache | sort -n | tr '\n' ' '; }
"$tmp/venv/bin/python" -c 'import jax; print("jax", jax.__version__)'
first=$(run)
echo "warnings of the first process: $first; entries of $(sizes)bytes"
for entry in "$tmp"/cache/*-cache; do truncate -s 100 "$entry"; done
second=$(run)
third=$(run)
echo "of the second: $second, of the third: $third; entries of $(sizes)bytes"
if [ "$first" = 0 ] && [ "$second" -gt 0 ] && [ "$third" = "$second" ] && [ "$(sizes | tr -d '10 ')" = "" ]
then echo "as described"; else echo "changed"; exit 1; fi
