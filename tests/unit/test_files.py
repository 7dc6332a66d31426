"""Locks: alone, shared, and only if nobody has it; what a failed write names."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from aifo_tasks import files


def test_those_who_share_a_lock_keep_out_who_wants_it_alone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        files.locked(lock, shared=True),
        files.locked(lock, shared=True),
        files.claimed(lock) as is_held,
    ):
        assert not is_held
    with files.claimed(lock) as is_held:
        assert is_held
        with files.claimed(lock) as is_held_twice:
            assert not is_held_twice


def test_who_wants_it_alone_waits_for_those_who_share_it_and_says_so(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    waiting, taken = threading.Event(), threading.Event()

    def take() -> None:
        with files.locked(lock, on_wait=waiting.set):
            taken.set()

    with files.locked(lock, shared=True):
        thread = threading.Thread(target=take)
        thread.start()
        assert waiting.wait(10)
        assert not taken.is_set()
    thread.join(10)
    assert taken.is_set()


def test_a_write_that_fails_names_the_file_that_was_meant(tmp_path: Path) -> None:
    missing, taken = tmp_path / "missing" / "file", tmp_path / "taken"
    taken.mkdir()
    for path in (missing, taken):
        with pytest.raises(OSError, match="directory") as caught:
            files.write_quietly(path, b"")
        assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [taken]
