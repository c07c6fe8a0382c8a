"""Whole-file reads and writes."""

import errno
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.foundation.errors import DataError, NotFound, StorageError
from skill_fleet.foundation.files import (
    create_bytes,
    read_json,
    read_text,
    write_bytes,
    write_json,
    write_text,
)


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "file.txt"
    write_text(path, "one\r\ntwo é\n")
    assert path.read_bytes() == "one\r\ntwo é\n".encode()
    write_text(path, "short")
    assert read_text(path) == "short"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = {letter * 200_000 for letter in "ab"}
    write_text(path, "a" * 200_000)
    done = threading.Event()
    seen: set[str] = set()

    def reader() -> None:
        while not done.is_set():
            seen.add(read_text(path))

    thread = threading.Thread(target=reader)
    thread.start()
    for number in range(30):
        write_text(path, "ab"[number % 2] * 200_000)
    done.set()
    thread.join()
    assert seen <= texts


def refusing(number: int) -> Callable[..., None]:
    """A function of the system that fails in one way."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_file_is_created_by_one_and_never_over_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    path = tmp_path / "new" / "file"
    assert create_bytes(path, b"first")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not create_bytes(path, b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    with ThreadPoolExecutor(4) as pool:
        for number in range(50):
            other = tmp_path / str(number)
            made = list(pool.map(lambda n, at=other: create_bytes(at, str(n).encode()), range(4)))
            assert sum(made) == 1
            assert other.read_text() == str(made.index(True))


@pytest.mark.parametrize("name", ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EIO"])
def test_only_where_links_are_unknown_a_file_is_created_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(os, "link", refusing(getattr(errno, name)))
    path = tmp_path / "file"
    if name == "EIO":
        with pytest.raises(StorageError, match=r"file cannot be written: Input/output error\."):
            create_bytes(path, b"x")
        assert not list(tmp_path.iterdir())
    else:
        assert create_bytes(path, b"x")
        assert path.read_bytes() == b"x"


def test_a_name_that_was_claimed_in_vain_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", refusing(errno.EIO))
        with pytest.raises(StorageError):
            create_bytes(path, b"first")
    assert not list(tmp_path.iterdir())
    assert create_bytes(path, b"second")


def test_permissions_of_a_file_stay_and_a_new_one_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    for mode in (0o600, 0o664):
        path.chmod(mode)
        write_text(path, "y")
        assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_breaks_off_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def broken(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises((StorageError, KeyboardInterrupt)) as caught:
        write_text(path, "new")
    if isinstance(caught.value, StorageError):
        assert "No space left" in caught.value.message
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", Path("/dev/null/below")):
        with pytest.raises(StorageError, match="cannot be written") as caught:
            write_bytes(path, b"x")
        assert str(path) in caught.value.message
        assert "None" not in caught.value.message


def test_half_a_character_is_told_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(DataError, match="character 4"):
        write_text(path, "new \ud83d")
    assert path.read_text() == "old"


def test_what_cannot_be_read_is_told_with_its_kind(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"The program .*nowhere does not exist"):
        read_text(tmp_path / "nowhere", what="program")
    with pytest.raises(StorageError, match="is a directory"):
        read_text(tmp_path)
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"not UTF-8 text .byte 3"):
        read_text(tmp_path / "latin")
    with pytest.raises(StorageError):
        read_text(tmp_path / "latin" / "below")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,}', "line 1, column"),
        ('{\n "a": \n}', "line 3, column 1"),
        ("", "line 1, column 1"),
        ("[" * 100_000, "nested too deeply"),
        ("\ufeff[]", "line 1"),
    ],
)
def test_bad_json_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said) as caught:
        read_json(path, what="training set")
    assert str(path) in caught.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(json_values)
def test_json_comes_back_as_it_was_written(value: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "v.json"
        write_json(path, value)
        assert read_json(path) == value
        assert path.read_text(encoding="utf-8").endswith("\n")


def test_json_is_for_people_and_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    write_json(path, {"b": "é", "a": [1]})
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["b", "a"], "in the order given"
    assert "é" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
