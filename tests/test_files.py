import pytest

from seqjax.files import replace_file


@pytest.mark.parametrize(
    ("content", "expected"),
    [("é\r\nb\n", b"\xc3\xa9\r\nb\n"), (b"\xff\0\n", b"\xff\0\n"), ("", b"")],
)
def test_a_file_holds_the_content_and_nothing_lies_beside_it(content, expected, tmp_path):
    path = tmp_path / "a.json"
    replace_file(path, "longer, and from before")
    replace_file(str(path), content)
    assert path.read_bytes() == expected
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_the_old_file_is_replaced_and_not_written_into(tmp_path):
    path, old = tmp_path / "a.json", tmp_path / "old.json"
    replace_file(path, "old")
    old.hardlink_to(path)
    replace_file(path, "new")
    assert (path.read_text(), old.read_text()) == ("new", "old")


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    replace_file(path, "old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "\ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
