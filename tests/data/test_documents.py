import gzip

import pytest
from ml_collections import ConfigDict

from seqjax.data import line_files
from seqjax.data.documents import Documents, split_in_order
from seqjax.data.selection import select_split
from seqjax.errors import UserError


def config(folder, **fields):
    given = {
        "corpus": "text",
        "directory": str(folder),
        "files": "{split}.txt",
        "documents": "line",
        "train": "train",
        "validation": "validation",
        "test": "test",
        "split_by": "",
        "split_seed": 0,
        "validation_share": 0.1,
        "test_share": 0.0,
    }
    return ConfigDict(given | fields)


def write(folder, content, name="train.txt"):
    content = content if isinstance(content, bytes) else content.encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def read(folder, kind, split="train", **fields):
    documents = Documents(config(folder, documents=kind, **fields), split)
    return [documents[i]["text"] for i in range(len(documents))]


def error_of(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TEXT = "\n\nEin Satz.\nNoch einer.\r\n \t\r\n\nDer\u2028Rest\n\n"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("line", ["", "", "Ein Satz.", "Noch einer.", " \t", "", "Der\u2028Rest", ""]),
        ("block", ["Ein Satz.\nNoch einer.", "Der\u2028Rest"]),
        ("file", ["\n\nEin Satz.\nNoch einer.\n \t\n\nDer\u2028Rest\n\n"]),
    ],
)
@pytest.mark.parametrize("name", ["train.txt", "train.txt.gz"])
def test_a_document_is_a_line_a_block_or_a_file(tmp_path, name, kind, expected):
    write(tmp_path, "\ufeff" + TEXT, name)
    assert read(tmp_path, kind, files=name.replace("train", "{split}")) == expected


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_end_of_the_last_line_may_lack(tmp_path, end):
    write(tmp_path, f"a\n\nb{end}")
    assert read(tmp_path, "line") == ["a", "", "b"]
    assert read(tmp_path, "block") == ["a", "b"]
    assert read(tmp_path, "file") == [f"a\n\nb{end}"]


def test_blocks_across_chunks(tmp_path, monkeypatch):
    expected = ["\n".join("ü" * (i % 5 + 1) for _ in range(i % 3 + 1)) for i in range(100)]
    write(tmp_path, "\n \n".join(expected))
    monkeypatch.setattr(line_files, "_CHUNK_BYTES", 7)
    assert read(tmp_path, "block") == expected


def test_files_that_match_a_name_are_read_in_its_order(tmp_path):
    for name, content in (
        ("b.txt", "3\n\n4\n"),
        ("a.txt", "1\n2\n"),
        ("c.md", "no"),
        ("d.txt", "5"),
    ):
        write(tmp_path / "train", content, name)
    assert read(tmp_path, "file", files="{split}/*.txt") == ["1\n2\n", "3\n\n4\n", "5"]
    assert read(tmp_path, "block", files="{split}/*.txt") == ["1\n2", "3", "4", "5"]
    assert read(tmp_path, "line", files="{split}/*.txt") == ["1", "2", "3", "", "4", "5"]
    documents = Documents(config(tmp_path, documents="block", files="{split}/*.txt"), "train")
    assert documents[2] == {"text": "4"}
    for beyond in (-1, 4):
        with pytest.raises(IndexError):
            documents[beyond]


def test_the_fingerprint_changes_with_contents_and_kind_alone(tmp_path):
    write(tmp_path / "a", "1\n\n2\n")
    write(tmp_path / "b", "1\n\n2\n")
    write(tmp_path / "c", "1\n\n3\n")

    def fingerprint(folder, kind):
        return Documents(config(tmp_path / folder, documents=kind), "train").fingerprint

    assert fingerprint("a", "line") == fingerprint("b", "line")
    different = [("a", "line"), ("a", "block"), ("a", "file"), ("c", "line")]
    assert len({fingerprint(*each) for each in different}) == 4


def test_mistakes_are_named(tmp_path):
    write(tmp_path, "gut\nschlecht \xfc".encode("latin-1"))
    message = error_of(Documents, config(tmp_path), "train")
    assert f"{tmp_path / 'train.txt'}:2: expected UTF-8 (" in message
    write(tmp_path, " \n\n\t\n")
    message = error_of(Documents, config(tmp_path, documents="block"), "train")
    assert message == f"{tmp_path / 'train.txt'}: only blank lines; expected at least one document"
    write(tmp_path, "")
    assert "the file is empty" in error_of(Documents, config(tmp_path), "train")
    message = error_of(Documents, config(tmp_path, documents="blok"), "train")
    assert message.startswith("data.documents = 'blok': expected one of line, block, file")
    assert "did you mean 'block'?" in message
    assert "its folder has 'train.txt'" in error_of(Documents, config(tmp_path), "tset")
    message = error_of(Documents, config(tmp_path, files="{split}.{language}"), "train")
    assert "expected {split} and no other braces, as in '{split}.txt'" in message
    message = error_of(Documents, config(tmp_path, files="{split}/*.txt"), "train")
    assert message.startswith("data.files = '{split}/*.txt': no file matches ")


def in_order(folder, kind, split, **fields):
    data = config(folder, documents=kind, files="all.txt", split_by="order", **fields)
    part = split_in_order(Documents(data, split), data, split)
    return [part[i]["text"] for i in range(len(part))]


def test_one_document_is_divided_by_its_characters(tmp_path):
    text = "".join(chr(0x370 + i) for i in range(15)) + "\n" + "abcd"
    write(tmp_path, text, "all.txt")
    shares = {"validation_share": 0.1, "test_share": 0.0}
    assert in_order(tmp_path, "file", "train", **shares) == [text[:18]]
    assert in_order(tmp_path, "file", "validation", **shares) == [text[18:]]
    shares = {"validation_share": 0.05, "test_share": 0.05}
    assert in_order(tmp_path, "file", "train", **shares) == [text[:18]]
    assert in_order(tmp_path, "file", "validation", **shares) == [text[18]]
    assert in_order(tmp_path, "file", "test", **shares) == [text[19]]


def test_documents_are_divided_in_their_order(tmp_path):
    write(tmp_path, "\n".join(map(str, range(10))), "all.txt")
    shares = {"validation_share": 0.2, "test_share": 0.3}
    assert in_order(tmp_path, "line", "train", **shares) == list("01234")
    assert in_order(tmp_path, "line", "validation", **shares) == list("56")
    assert in_order(tmp_path, "line", "test", **shares) == list("789")
    # A split may also be asked for by the name that `data` gives it.
    assert in_order(tmp_path, "line", "dev", validation="dev", **shares) == list("56")


@pytest.mark.parametrize("count", range(2, 60))
@pytest.mark.parametrize("shares", [(0.1, 0.0), (0.05, 0.05), (0.0, 0.1), (0.3, 0.6)])
def test_every_document_falls_into_one_split(tmp_path, count, shares):
    write(tmp_path, "\n".join(map(str, range(count))), "all.txt")
    fields = {"validation_share": shares[0], "test_share": shares[1]}
    found = []
    for split in ("train", "validation", "test"):
        try:
            found += in_order(tmp_path, "line", split, **fields)
        except UserError as error:
            assert "_share = " in str(error)
    assert found == list(map(str, range(count)))


def test_splits_that_would_be_empty_are_refused(tmp_path):
    write(tmp_path, "a\nb\n", "all.txt")
    message = error_of(in_order, tmp_path, "line", "test")
    assert message == "data.test_share = 0.0: expected more than 0, so that there is a test split"
    with pytest.raises(UserError, match=r"shares that leave some of 2 documents for the train"):
        in_order(tmp_path, "line", "train", validation_share=0.6)
    with pytest.raises(UserError, match=r"split = 'dev': expected one of train, validation, test"):
        in_order(tmp_path, "line", "dev")


def test_tiny_shakespeare_is_divided_as_in_nanogpt(real_data):
    folder = real_data / "tinyshakespeare"
    whole = (folder / "input.txt").read_text()
    data = config(folder, documents="file", files="input.txt", split_by="order")
    parts = [
        split_in_order(Documents(data, split), data, split)[0]["text"]
        for split in ("train", "validation")
    ]
    assert [len(part) for part in parts] == [1_003_854, 111_540]
    assert "".join(parts) == whole


def test_names_are_documents_of_which_some_are_drawn(real_data):
    data = config(
        real_data / "names",
        files="names.txt",
        split_by="line",
        validation_share=0.0,
        test_share=0.03,
    )
    names = Documents(data, "train")
    assert len(names) == 32_033
    assert [names[i]["text"] for i in (0, 1, 32_032)] == ["emma", "olivia", "zzyzx"]
    assert len(select_split(names, data, "test")) == round(0.03 * 32_033)
