#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
trials=$(sbatch --parsable trials.sbatch)
table=$(sbatch --parsable --dependency="afterany:${trials%%;*}" table.sbatch)
echo "trials: job $trials; table: job $table"
