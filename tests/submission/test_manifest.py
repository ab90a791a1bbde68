import json
import shutil
import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.submission.manifest import manifest

# What parsers of YAML take for something else than a string, or for a part of their own language.
WORDS = (
    ["no", "On", "y", "null", "~", "", " ", "true", "1e3", "0x10", "0o10", "010", "1_000", ".inf"]
    + ["2026-11-30", "12:30:45", "-", "- a", "a: b", "a #b", "#", "&a", "*a", "!a", "%a", "@a"]
    + ["|", ">", "{a: b}", "[a]", "---", "...", "'", '"', "\\", "\t", "a\nb", "a\nb\n", " a\n b\n"]
    + ["\n", "a \nb\n", "a\n\nb\n", "a\r\nb\n", "\x85", "a\u2028b\n", "ä\n", "😀", "\x01", "="]
    + ["<<", "$$", "`a"]
)  # fmt: skip


def test_strings_stay_strings():
    document = {"values": WORDS, "names": {word: word for word in WORDS}}
    assert yaml.safe_load(manifest(document)) == document


@given(st.text(st.characters(exclude_categories=("Cs",))))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_read_again(text):
    written = manifest({"a": [text], text: 1}, {"b": text}, comment="of two")
    assert list(yaml.safe_load_all(written)) == [{"a": [text], text: 1}, {"b": text}]
    assert written.isascii()


def test_what_is_no_string_stays_what_it_is():
    document = {"count": 8, "spot": True, "share": 0.5, "none": [], "nested": [{"a": 1}]}
    assert yaml.safe_load(manifest(document)) == document


def test_scripts_keep_their_lines():
    written = manifest({"run": "cd x\n  python y\n"}, comment="one\ntwo")
    assert written == "# one\n# two\nrun: |\n  cd x\n    python y\n"


def test_kubectl_reads_the_same(tmp_path):
    """Kubernetes parses YAML by another library, in another version of the language."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    named = {f"seqjax/a{number}": word for number, word in enumerate(WORDS)}
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "annotations": named},
        "data": {word: word for word in WORDS},
    }
    path = tmp_path / "map.yaml"
    path.write_text(manifest(document))
    command = ["kubectl", "label", "--local", f"--filename={path}", "a=b", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert read["metadata"]["annotations"] == named and read["data"] == document["data"]
