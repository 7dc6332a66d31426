"""A client's way to a proxy: what lies in its directory, and who can read it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from aifo_tasks.session.access import Access, variables
from aifo_tasks.sidecar.identity import Owner

OURS = Owner(uid=os.getuid(), gid=os.getgid())


def test_the_token_is_its_owner_s_alone(tmp_path: Path) -> None:
    way = Access(directory=tmp_path / "way", token="t", owner=OURS, tools=("node", "g++"))
    for _ in range(2):  # what a killed one left is no obstacle
        way.lay_out()
    assert way.directory.stat().st_mode & 0o777 == 0o755
    assert way.token_file.stat().st_mode & 0o777 == 0o600
    assert way.token_file.read_text() == "t"
    links = {path.name: str(path.readlink()) for path in (way.directory / "bin").iterdir()}
    assert links == dict.fromkeys(("node", "g++"), "/opt/aifo/bin/aifo-shim")


def test_it_goes_but_for_the_directory_that_is_mounted(tmp_path: Path) -> None:
    way = Access(directory=tmp_path, token="t", owner=OURS, tools=("node",))
    way.lay_out()
    way.remove()
    assert list(tmp_path.iterdir()) == []
    way.remove()


def test_another_user_gets_a_token_that_is_theirs(tmp_path: Path) -> None:
    way = Access(directory=tmp_path, token="t", owner=Owner(uid=4321, gid=4321))
    assert way.text.endswith(f"chown 4321:4321 {way.token_file}")
    if os.getuid() == 0:
        way.lay_out()
        assert way.token_file.stat().st_uid == 4321


def test_a_dry_run_s_token_can_be_pasted(tmp_path: Path) -> None:
    way = Access(directory=tmp_path, token="t", owner=OURS)
    subprocess.run(["sh", "-ec", way.text], check=True)
    assert len(way.token_file.read_text()) == 64
    assert way.token_file.stat().st_mode & 0o777 == 0o600


def test_shims_are_told_in_both_spellings() -> None:
    found = variables("http://x:1/exec", "/run/aifo")
    assert found == {
        "AIFO_TOOLEEXEC_URL": "http://x:1/exec",
        "AIFO_TOOLEEXEC_TOKEN_FILE": "/run/aifo/token",
        "AIFO_TOOLEXEC_URL": "http://x:1/exec",
        "AIFO_TOOLEXEC_TOKEN_FILE": "/run/aifo/token",
    }
