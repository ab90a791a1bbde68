import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqjax import files
from seqjax.errors import UserError
from seqjax.files import (
    GrowingFile,
    absolute,
    as_path,
    cache_folder,
    expanded,
    in_bucket,
    path_option,
    replace_file,
    rewrite_file,
    run_path,
)


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


@pytest.mark.parametrize("name", ["a/b", "/a/b", "gs://bucket/a/b", "s3://bucket/a/b"])
def test_a_path_says_where_it_leads(name, bucket):
    path = as_path(name)
    assert str(path) == name and str(as_path(path)) == name
    assert in_bucket(path) == in_bucket(name) == ("://" in name)
    assert (path.name, str(path.parent / "c")) == ("b", name[:-1] + "c")
    assert str(absolute(path)).endswith(name) and absolute(absolute(path)) == absolute(path)


@pytest.mark.parametrize(
    "make, name, reported",
    [
        (as_path, "memory://a", "memory://a: expected a local path, gs://... or s3://"),
        (as_path, "ftp://a", "ftp://a: expected a local path"),
        (run_path, "s3://a/b", "--workdir=s3://a/b: expected a local path or gs://..."),
        (run_path, "gcs://a/b", "--workdir=gcs://a/b: expected a local path"),
    ],
)
def test_other_addresses_are_refused(make, name, reported):
    with pytest.raises(UserError) as caught:
        make(name)
    assert reported in str(caught.value)


def test_a_bucket_needs_a_package():
    script = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from seqjax.files import as_path; as_path('s3://a')"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    said = "UserError: s3://a: needs an extra package: pip install 'seqjax[s3]'\n"
    assert done.stderr.endswith(said)


def test_files_are_replaced_there_too(folder):
    path = folder / "a" / "b.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for content in ("old and longer", "é\r\n", b"\xff\0"):
        replace_file(path, content)
        assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert [entry.name for entry in path.parent.iterdir()] == ["b.json"]


@pytest.mark.parametrize("after", [b"", b"a\n", b"a\nb\n", b"b\n", b"a\nb\nc\n"])
def test_a_file_gets_another_content(folder, after):
    replace_file(folder / "lines", b"a\nb\n")
    rewrite_file(folder / "lines", b"a\nb\n", after)
    assert (folder / "lines").read_bytes() == after


def test_a_file_grows(folder):
    path = folder / "lines"
    replace_file(path, "a\n")
    for more in (["b\n", "é\n"], []):
        file = GrowingFile(path)
        for line in more:
            file.write(line)
        file.close()
    assert path.read_bytes() == "a\nb\né\n".encode()


def test_a_line_that_a_full_disk_cuts_is_completed_later(tmp_path, fill):
    file = GrowingFile(tmp_path / "lines")
    file.write("a\n")
    before = open(tmp_path / "lines", "ab", buffering=0)
    fill(file)
    with pytest.raises(OSError, match="No space left"):
        file.write("b\n")
    with pytest.raises(OSError, match="No space left"):
        file.write("c\n")
    file._file = before
    file.close()
    assert (tmp_path / "lines").read_text() == "a\nb\nc\n"


def test_an_object_is_written_now_and_then(bucket, monkeypatch):
    path = bucket / "lines"
    file = GrowingFile(path)
    file.write("a\n")
    file._written.result()
    file.write("b\n")
    assert path.read_text() == "a\n"
    monkeypatch.setattr(files, "_SECONDS", 0)
    file.write("c\n")
    file._written.result()
    assert path.read_text() == "a\nb\nc\n"
    file.close()


def test_what_fails_in_the_background_is_reported(bucket, monkeypatch):
    def fail(*arguments):
        raise PermissionError("the bucket is closed")

    file = GrowingFile(bucket / "lines")
    monkeypatch.setattr(files, "replace_file", fail)
    file.write("a\n")
    with pytest.raises(PermissionError, match="the bucket is closed"):
        file.close()


@pytest.fixture
def homeless(monkeypatch):
    """A user whom neither the environment nor the system knows a home folder of."""

    def unknown(*_):
        raise KeyError("no such user")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    cache_folder.cache_clear()
    yield
    cache_folder.cache_clear()


def test_a_path_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("DATA", "/data")
    found = [expanded(name, "") for name in ("~/a", "$DATA/b", "c~", "./~", "$NONE/d")]
    assert found == ["/home/anna/a", "/data/b", "c~", "./~", "$NONE/d"]
    assert path_option("--workdir")("~") == "/home/anna"


@pytest.mark.parametrize("name", ["~", "~/runs", "~nobody-knows/x"])
def test_a_home_that_is_not_known_makes_no_folder_of_that_name(name, homeless):
    with pytest.raises(UserError) as error:
        path_option("--workdir")(name)
    home = name.partition("/")[0]
    assert str(error.value).startswith(f"--workdir={name}: expected a path without {home!r}, since")


def test_a_cache_in_no_home_is_a_temporary_folder_of_the_users_own(
    homeless, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = cache_folder("~/.cache/seqjax")
    assert folder == cache_folder("~/.cache/seqjax") == tmp_path / f"seqjax-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    said = f"data.cache = '~/.cache/seqjax': this user has no home folder; {folder} is used\n"
    assert capsys.readouterr().err == said
    assert cache_folder(str(tmp_path / "other")) == tmp_path / "other"
    with pytest.raises(UserError, match="data.cache = '~anna/x': expected a path without '~anna'"):
        cache_folder("~anna/x")
