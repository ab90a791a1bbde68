#!/usr/bin/env bash
set -euo pipefail
cd /home/me/seqjax
exec python launch.py train --config=configs/demo.py '--config.train.duration=500 steps' --workdir=runs/demo
