import gzip
import os

import pytest

from seqjax.config import default_config
from seqjax.data import line_files
from seqjax.data.corpus import open_corpus
from seqjax.data.line_files import AlignedTexts, JsonLines, Lines, PatternLines, TabSeparated
from seqjax.errors import UserError

SIDES = ("source", "target")


def record(source, target):
    return {"source": source, "target": target}


def write(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def config(tmp_path, corpus, **fields):
    data = default_config().data
    data.corpus = corpus
    data.directory = str(tmp_path)
    for name, value in fields.items():
        data[name] = value
    return data


def error_of(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\rb\n", ["a\rb"]),
        ("\n\nb\n\n", ["", "", "b", ""]),
        ("\n", [""]),
        # Everything else that str.splitlines would cut at.
        (
            "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n h \n",
            ["a\u2028b\u2029c\x85d\x0be\x0cf\x1cg", " h "],
        ),
        ("\ufeffé\n\ufeffz", ["é", "\ufeffz"]),
    ],
)
def test_only_newlines_end_a_line(tmp_path, name, content, expected):
    lines = Lines(write(tmp_path / name, content))
    assert [lines[i] for i in range(len(lines))] == expected
    for beyond in (len(lines), -1):
        with pytest.raises(IndexError):
            lines[beyond]


def test_lines_across_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(line_files, "_CHUNK_BYTES", 7)
    expected = ["ü" * (i % 11) + "😀" * (i % 3) for i in range(200)]
    path = write(tmp_path / "a", "\n".join(expected))
    lines = Lines(path)
    assert [lines[i] for i in range(len(lines))] == expected
    write(path, "\n".join(expected).encode().replace("😀".encode(), b"\xf0\x9f", 1))
    assert f"{path}:2:" in error_of(Lines, path)


def test_bad_bytes_are_found_when_opened(tmp_path):
    path = write(tmp_path / "a", b"fine\n" * 70_000 + b"\xfcber\n" + b"fine\n" * 10)
    message = error_of(Lines, path)
    assert f"{path}:70001: expected UTF-8 (invalid start byte)" in message
    # A character cut by the end of its line, and one cut by the end of the file.
    assert "a:1:" in error_of(Lines, write(path, b"caf\xc3\n\xa9\n"))
    assert "a:2:" in error_of(Lines, write(path, b"a\nb\xc3"))


@pytest.mark.parametrize("content", ["", "\ufeff"])
def test_empty_file(tmp_path, content):
    message = error_of(Lines, write(tmp_path / "a", content))
    assert message == f"{tmp_path / 'a'}: the file is empty; expected at least one line"


def test_a_file_in_another_encoding(tmp_path):
    path = write(tmp_path / "a", "wörter\n".encode("utf-16"))
    assert error_of(Lines, path).endswith("; the file begins like UTF-16)")


def test_damaged_gzip(tmp_path):
    path = write(tmp_path / "a.gz", "line\n" * 1000)
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path}: Compressed file ended before the end" in error_of(Lines, path)


def test_aligned_texts(tmp_path, monkeypatch):
    write(tmp_path / "train.en", "one\ntwo\n")
    write(tmp_path / "train.de", "eins\nzwei")
    write(tmp_path / "short.en", "one\n")
    write(tmp_path / "short.de", "eins\nzwei\n")
    data = config(tmp_path, "text")
    corpus = AlignedTexts(data, "train", SIDES)
    assert [corpus[0], corpus[1]] == [record("one", "eins"), record("two", "zwei")]
    monkeypatch.setenv("CORPORA", str(tmp_path))
    data.directory = "$CORPORA"
    assert AlignedTexts(data, "train", SIDES).fingerprint == corpus.fingerprint
    message = error_of(AlignedTexts, data, "short", SIDES)
    assert (
        f"{tmp_path / 'short.en'} has 1 lines, {tmp_path / 'short.de'} has 2; expected equal"
        in message
    )


@pytest.mark.parametrize("scheme", ["gs", "s3"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_corpus_in_a_bucket(bucket, scheme, suffix):
    write(bucket / f"train.en{suffix}", "one\ntwo\n")
    data = config(str(bucket).replace("gs:", f"{scheme}:"), "text")
    data.files = "{split}.{language}" + suffix
    seen = set()
    # As long as before, and perhaps in the same second.
    for last in ("zwei", "drei"):
        write(bucket / f"train.de{suffix}", f"eins\n{last}")
        corpus = AlignedTexts(data, "train", SIDES)
        assert [corpus[0], corpus[1]] == [record("one", "eins"), record("two", last)]
        assert AlignedTexts(data, "train", SIDES).fingerprint == corpus.fingerprint
        seen.add(corpus.fingerprint)
    assert len(seen) == 2
    message = error_of(AlignedTexts, data, "trian", SIDES)
    assert f": expected a file {data.directory}/trian.en{suffix}; its folder has " in message
    assert f"'train.en{suffix}'" in message


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "x.en", "one")
    write(tmp_path / "x.de", "eins")
    assert len(AlignedTexts(config("~", "text"), "x", SIDES)) == 1


def test_fingerprint_follows_the_files(tmp_path):
    data = config(tmp_path, "text", files="{language}")
    write(tmp_path / "en", "one\n")
    target = write(tmp_path / "de", "eins\n")
    os.utime(target, ns=(1, 1))
    seen = {AlignedTexts(data, "train", SIDES).fingerprint}
    os.utime(target, ns=(2, 2))
    seen.add(AlignedTexts(data, "train", SIDES).fingerprint)
    assert len(seen) == 1
    # A copy that keeps times, as by rsync -t, may replace a file by one of equal size.
    write(target, "zwei\n")
    os.utime(target, ns=(2, 2))
    seen.add(AlignedTexts(data, "train", SIDES).fingerprint)
    data.source, data.target = "de", "en"
    seen.add(AlignedTexts(data, "train", SIDES).fingerprint)
    assert len(seen) == 3
    assert AlignedTexts(data, "train", SIDES).fingerprint in seen


@pytest.mark.parametrize(
    ("corpus", "file", "before", "after", "fields"),
    [
        ("tsv", "train.tsv", "a\tb\n", "a\tc\n", {"source": "0", "target": "1"}),
        ("tsv", "train.tsv.gz", "a\tb\n", "a\tc\n", {"source": "0", "target": "1"}),
        ("jsonl", "train.jsonl", '{"en":"a","de":"b"}', '{"en":"a","de":"c"}', {}),
        ("pattern", "train.txt", "a b", "a c", {"pattern": "(?P<en>.*) (?P<de>.*)"}),
    ],
)
def test_every_kind_of_file_is_known_by_its_contents(tmp_path, corpus, file, before, after, fields):
    data = config(tmp_path, corpus, files=file.replace("train", "{split}"), **fields)
    seen = []
    for content in (before, after, before):
        os.utime(write(tmp_path / file, content), ns=(1, 1))
        seen.append(open_corpus(data, "train").fingerprint)
    assert seen[0] == seen[2] != seen[1]


def test_missing_files(tmp_path):
    for name in ("train.en", "train.de", "unrelated"):
        write(tmp_path / name, "x")
    data = config(tmp_path, "text")
    message = error_of(AlignedTexts, data, "trian", SIDES)
    assert str(tmp_path / "trian.en") in message
    assert "'train.en'" in message and "unrelated" not in message
    data.directory = str(tmp_path / "nowhere")
    message = error_of(AlignedTexts, data, "train", SIDES)
    assert str(tmp_path / "nowhere" / "train.en") in message and "data.directory" in message
    data.files = "{split}.{lang}"
    assert "{split} and {language}" in error_of(AlignedTexts, data, "train", SIDES)


def test_tab_separated(tmp_path):
    write(tmp_path / "train.tsv", 'id\ten\tde\n1\ta "quoted\tb\n2\t\tc\textra\n3\tlonely\n')
    data = config(tmp_path, "tsv", files="{split}.tsv")
    corpus = TabSeparated(data, "train", SIDES)
    assert len(corpus) == 3
    assert corpus[0] == record('a "quoted', "b")
    assert corpus[1] == record("", "c")
    message = error_of(corpus.__getitem__, 2)
    assert f"{tmp_path / 'train.tsv'}:4: no column 2; expected 0 to 1" in message
    with pytest.raises(IndexError):
        corpus[3]

    data.source, data.target = "2", "0"
    numbered = TabSeparated(data, "train", SIDES)
    assert len(numbered) == 4
    assert numbered[0] == record("de", "id") and numbered[1] == record("b", "1")
    assert numbered.fingerprint != corpus.fingerprint

    data.source = "fr"
    data.target = "de"
    assert "no column 'fr'; expected one of 'id', 'en', 'de'" in error_of(
        TabSeparated, data, "train", SIDES
    )
    data.source = "0"
    assert "two column numbers" in error_of(TabSeparated, data, "train", SIDES)
    data.files = "{split}.{language}"
    assert "'{split}.tsv'" in error_of(TabSeparated, data, "train", SIDES)


def test_tab_separated_without_rows(tmp_path):
    write(tmp_path / "train.tsv", "en\tde\n")
    data = config(tmp_path, "tsv", files="train.tsv")
    assert "expected at least one line after the column names" in error_of(
        TabSeparated, data, "train", SIDES
    )


def test_two_columns_of_one_name_are_refused(tmp_path):
    write(tmp_path / "train.tsv", "en\ten\tde\na\tb\tc\n")
    data = config(tmp_path, "tsv", files="{split}.tsv")
    assert "train.tsv:1: 2 columns 'en'; expected one" in error_of(
        TabSeparated, data, "train", SIDES
    )


def test_json_that_is_nested_too_deeply_is_a_mistake(tmp_path):
    write(tmp_path / "train.jsonl", "[" * 100_000 + "\n")
    data = config(tmp_path, "jsonl", files="{split}.jsonl")
    message = error_of(JsonLines(data, "train", SIDES).__getitem__, 0)
    assert message.startswith(f"{tmp_path / 'train.jsonl'}:1: expected a JSON object (max")


def test_json_lines(tmp_path):
    write(
        tmp_path / "train.jsonl",
        '{"translation": {"en": "a\\nb", "de": "\\u00fc"}}\n{"translation": {"en": "c"}}\n'
        '{"translation": {"en": "c", "de": 3}}\n[1]\nnot json\n'
        '{"translation.en": "flat", "translation.de": "x"}\n'
        '{"translation": {"en": "a", "de": "\\ud83d"}}\n'
        '{"id": 1, "id": 1, "translation": {"en": "a", "de": "b"}}\n'
        '{"translation": {"en": "a", "de": "b", "en": "c"}}\n',
    )
    data = config(
        tmp_path,
        "jsonl",
        files="{split}.jsonl",
        source="translation.en",
        target="translation.de",
    )
    corpus = JsonLines(data, "train", SIDES)
    assert len(corpus) == 9
    assert corpus[0] == record("a\nb", "ü")
    assert corpus[5] == record("flat", "x")
    messages = [error_of(corpus.__getitem__, i) for i in range(1, 5)]
    for line, message in enumerate(messages, start=2):
        assert message.startswith(f"{tmp_path / 'train.jsonl'}:{line}: ")
    assert "no field 'translation.de'; expected one of 'en'" in messages[0]
    assert "'translation.de' is a number; expected a string" in messages[1]
    assert "expected an object that has" in messages[2]
    assert "expected a JSON object (Expecting value" in messages[3]
    assert "jsonl:7: field 'translation.de': expected Unicode (" in error_of(corpus.__getitem__, 6)
    # Which value of a name counts is only a question if it is read.
    assert corpus[7] == record("a", "b")
    assert "jsonl:9: expected a JSON object ('en' occurs 2 times in it)" in error_of(
        corpus.__getitem__, 8
    )
    data.source = "translation"
    assert "is an object; expected a string, such as one of 'en', 'de' in it" in error_of(
        JsonLines(data, "train", SIDES).__getitem__, 0
    )


def pattern(tmp_path, **fields):
    fields = {"files": "{split}.txt", "source": "command", "target": "actions"} | fields
    expression = "IN: (?P<command>.*) OUT: (?P<actions>.*)"
    return config(tmp_path, "pattern", **({"pattern": expression} | fields))


def test_pattern_lines(tmp_path):
    write(tmp_path / "train.txt", "IN: jump twice OUT: I_JUMP I_JUMP\r\nIN: OUT: OUT: \nIN: jump\n")
    data = pattern(tmp_path)
    corpus = PatternLines(data, "train", SIDES)
    assert len(corpus) == 3
    assert corpus[0] == record("jump twice", "I_JUMP I_JUMP")
    assert corpus[1] == record("OUT:", "")
    message = error_of(corpus.__getitem__, 2)
    assert message.startswith(f"{tmp_path / 'train.txt'}:3: 'IN: jump'; expected a line that")
    assert "data.pattern = 'IN: (?P<command>" in message
    with pytest.raises(IndexError):
        corpus[3]
    data.files = "{split}.{language}"
    assert "'{split}.txt'" in error_of(PatternLines, data, "train", SIDES)


def test_a_pattern_matches_whole_lines_and_may_leave_a_group_out(tmp_path):
    write(tmp_path / "train.txt", "a=b\na\n=b!\n")
    data = pattern(tmp_path, pattern="(?P<command>[a-z]*)(=(?P<actions>[a-z]*))?")
    corpus = PatternLines(data, "train", SIDES)
    assert [corpus[0], corpus[1]] == [record("a", "b"), record("a", "")]
    assert "'=b!'; expected a line that matches" in error_of(corpus.__getitem__, 2)


def test_fingerprint_follows_the_pattern_and_its_groups(tmp_path):
    write(tmp_path / "train.txt", "IN: a OUT: b\n")
    seen = {
        PatternLines(pattern(tmp_path, **fields), "train", SIDES).fingerprint
        for fields in (
            {},
            {"source": "actions", "target": "command"},
            {"pattern": "IN: (?P<command>.) OUT: (?P<actions>.)"},
        )
    }
    assert len(seen) == 3
