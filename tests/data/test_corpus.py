import pathlib
import subprocess
import sys

import pytest

from seqjax.config import default_config
from seqjax.data.corpus import open_corpus
from seqjax.errors import UserError


def config(corpus, **fields):
    data = default_config().data
    data.corpus = corpus
    for name, value in fields.items():
        data[name] = value
    return data


def error_of(data, split="train"):
    with pytest.raises(UserError) as caught:
        open_corpus(data, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def texts(tmp_path):
    for split, count in (("training", 5), ("dev", 2), ("newstest", 1), ("train", 3)):
        for language in ("en", "de"):
            lines = [f"{split} {language} {i}\n" for i in range(count)]
            (tmp_path / f"{split}.{language}").write_text("".join(lines))
    return config(
        "text", directory=str(tmp_path), train="training", validation="dev", test="newstest"
    )


def test_splits_have_names_of_their_own(texts):
    assert [len(open_corpus(texts, split)) for split in ("train", "validation", "test")] == [
        5,
        2,
        1,
    ]
    assert open_corpus(texts, "newstest")[0] == {
        "source": "newstest en 0",
        "target": "newstest de 0",
    }
    assert "trainig.en" in error_of(texts, "trainig")


def test_one_file_is_not_every_split(texts):
    texts.files = "train.{language}"
    assert "'train.{language}': expected a file name with {split}, or" in error_of(
        texts, "anything"
    )
    texts.split_by = "line"
    assert len(open_corpus(texts, "train")) == len(open_corpus(texts, "test")) == 1
    assert "split = 'anything': expected one of train, validation, test" in error_of(
        texts, "anything"
    )


def test_limit_holds_for_training_only(texts):
    whole = open_corpus(texts, "train")
    texts.limit = 1
    limited = open_corpus(texts, "train")
    assert len(limited) == 1
    assert limited[0] == whole[0]
    assert limited.fingerprint != whole.fingerprint
    with pytest.raises(IndexError):
        limited[1]
    assert len(open_corpus(texts, "validation")) == 2
    texts.limit = 50
    assert len(open_corpus(texts, "train")) == 5


def test_the_corpora_of_the_studies(real_data):
    """Lines of another form would be an error of the line that is read."""
    command = "IN: (?P<command>.*) OUT: (?P<actions>.*)"
    scan = config("pattern", directory=str(real_data / "scan" / "length_split"), pattern=command)
    scan.update(files="tasks_{split}_length.txt", source="command", target="actions")
    corpus = open_corpus(scan, "test")
    assert len(corpus) == 3920
    assert all(
        set(target.split()) <= {"I_RUN", "I_JUMP", "I_LOOK", "I_WALK", "I_TURN_LEFT"}
        | {"I_TURN_RIGHT"} and source == source.strip()
        for source, target in (corpus[i].values() for i in range(len(corpus)))
    )  # fmt: skip
    phonemes = config("tsv", directory=str(real_data / "sigmorphon2021_g2p_medium"))
    phonemes.update(files="dut_{split}.tsv", validation="dev", source="0", target="1")
    corpus = open_corpus(phonemes, "validation")
    assert len(corpus) == 1000 and corpus[0] == {
        "source": "aanbesteding",
        "target": "aː n b ə s t eː d ɪ ŋ",
    }


def test_unknown_corpus():
    message = error_of(config("txt"))
    assert "did you mean 'text'" in message and "tfds:NAME" in message and "jsonl" in message
    assert "did you mean 'synthetic:translation'" in error_of(config("synthetic:tranlation"))
    assert "tfds:NAME" in error_of(config("tfds:"))


def test_synthetic_sentences():
    corpus = open_corpus(config("synthetic:sentences", synthetic_size=50), "train", ["text"])
    pairs = open_corpus(config("synthetic:translation", synthetic_size=50), "train")
    assert corpus[7] == {"text": pairs[7]["source"]}


def test_synthetic_directions():
    forward = open_corpus(config("synthetic:translation", synthetic_size=50), "train")
    data = config("synthetic:translation", synthetic_size=50, source="de", target="en")
    backward = open_corpus(data, "train")
    assert len(forward) == len(backward) == 50
    assert all(list(forward[i].values()) == list(backward[i].values())[::-1] for i in range(50))
    assert forward.fingerprint != backward.fingerprint
    assert "'en' to 'de'" in error_of(config("synthetic:translation", target="fr"))
    assert "'en' to 'de'" in error_of(config("synthetic:translation", source="de"))


# TFDS registers builders in the whole process, and it must not say a word on standard output.
_PREPARED = """
import os
import pathlib
import sys
import tensorflow_datasets as tfds
from seqjax.config import default_config
from seqjax.data.corpus import has_split, open_corpus
from seqjax.errors import UserError

class TinyTranslate(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.Translation(languages=("de", "en")))
    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(7), "test": self._generate_examples(2)}
    def _generate_examples(self, count):
        for i in range(count):
            yield i, {"en": f"café {i}", "de": f"Kaffee {i}"}

data = default_config().data
data.corpus, data.directory = "tfds:tiny_translate", sys.argv[1]
corpus = open_corpus(data, "train")
pairs = sorted((corpus[i]["source"], corpus[i]["target"]) for i in range(len(corpus)))
assert pairs == [(f"café {i}", f"Kaffee {i}") for i in range(7)], pairs
assert open_corpus(data, "train").fingerprint == corpus.fingerprint
assert open_corpus(data, "test").fingerprint != corpus.fingerprint
assert len(open_corpus(data, "train[:3]")) == 3

# Another record of equal size and time.
shard = next(pathlib.Path(sys.argv[1]).rglob("*-train.array_record*"))
content, state = bytearray(shard.read_bytes()), shard.stat()
content[len(content) // 3] ^= 1
shard.write_bytes(content)
os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))
assert open_corpus(data, "train").fingerprint != corpus.fingerprint

def error(**fields):
    with data.unlocked():
        changed = data.copy_and_resolve_references()
    changed.update(fields)
    try:
        open_corpus(changed, fields.get("train", "train"))
    except UserError as error:
        assert "\\n" not in str(error), error
        return str(error)
    raise AssertionError(fields)

assert "data.source = 'fr': expected one of de, en" in error(source="fr")
assert "split = 'valid': expected one of train, test" in error(train="valid")
assert "nosuch" in error(corpus="tfds:nosuch/de-en")
sides = ("source", "target")
names = ("test", "train[:50%]", "other")
assert [has_split(data, name, sides) for name in names] == [True, True, False]
assert "tensorflow" not in sys.modules
"""

_MOCKED = """
import sys
import tensorflow_datasets as tfds
from seqjax.config import default_config
from seqjax.data.corpus import open_corpus

data = default_config().data
data.corpus, data.source, data.target = "tfds:wmt14_translate/de-en", "de", "en"
with tfds.testing.mock_data(num_examples=3):
    corpus = open_corpus(data, "validation")
    pairs = [corpus[i] for i in range(len(corpus))]
assert len(pairs) == 3
assert all(isinstance(side, str) and side for pair in pairs for side in pair.values())
assert "tensorflow" not in sys.modules
"""

_UNREACHABLE = """
import sys
import tensorflow_datasets as tfds
from seqjax.config import default_config
from seqjax.data.corpus import open_corpus
from seqjax.errors import UserError

class Needy(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.Translation(languages=("de", "en")))
    def _split_generators(self, dl_manager):
        import a_module_that_is_not_installed
    def _generate_examples(self):
        pass

class Offline(Needy):
    def _split_generators(self, dl_manager):
        raise ConnectionError("no route\\nto host")

data = default_config().data
data.directory = sys.argv[1]
for corpus, expected in (
    ("tfds:needy", "pip install 'seqjax[tensorflow]'"), ("tfds:offline", "(no route); check that")):
    data.corpus = corpus
    try:
        open_corpus(data, "train")
    except UserError as error:
        assert expected in str(error) and "\\n" not in str(error), error
        assert sys.argv[1] in str(error), error
    else:
        raise AssertionError(corpus)
"""


@pytest.mark.parametrize("program", [_PREPARED, _MOCKED, _UNREACHABLE])
def test_tensorflow_datasets(tmp_path, program):
    root = pathlib.Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout == ""
