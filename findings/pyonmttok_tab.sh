#!/usr/bin/env bash
# pyonmttok deletes a tab and joins the words beside it.
#
# One would expect a tab to part words, as a space and a no-break space do. In the modes 'aggressive'
# and 'conservative' the tokenizer of OpenNMT drops it: 'guten<TAB>Tag' becomes the one token
# 'gutenTag', which is in no vocabulary, and no detokenizing brings the words back. The mode 'space'
# keeps the tab inside the token. You meet it with text taken from tables or subtitles.
# Seen on 2026-11-30.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q pyonmttok==1.38.1
"$tmp/venv/bin/python" - <<'PY'
import sys

import pyonmttok

print("pyonmttok", pyonmttok.__version__)
found = {}
for mode in ("aggressive", "conservative", "space"):
    tokenizer = pyonmttok.Tokenizer(mode, joiner_annotate=True)
    found[mode] = [tokenizer(text) for text in ("guten Tag", "guten\u00a0Tag", "guten\tTag")]
    print(mode, *found[mode], repr(tokenizer.detokenize(found[mode][2])))
joined = [["guten", "Tag"], ["guten", "Tag"], ["gutenTag"]]
same = found["aggressive"] == found["conservative"] == joined and len(found["space"][2]) == 1
print("as described" if same else "changed")
sys.exit(not same)
PY
