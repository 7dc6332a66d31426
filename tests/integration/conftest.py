"""What tests against a real engine share."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest

PAUSE = """\
#include <signal.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(0); }
int main(void) { signal(SIGTERM, end); for (;;) pause(); }
"""


@pytest.fixture(scope="session")
def pause_archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A root file system for ``docker import``: one static program, /pause."""
    top = tmp_path_factory.mktemp("pause")
    (top / "pause.c").write_text(PAUSE)
    subprocess.run(["gcc", "-static", "-o", top / "pause", top / "pause.c"], check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(top / "pause", arcname="pause")
    return buffer.getvalue()
