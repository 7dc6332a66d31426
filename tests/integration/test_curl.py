"""examples/curl.md does what it says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.integration.project import ROOT, Project
from tests.integration.proxied import running

BLOCKS = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_prints_what_stands_below_it(warm: Project, tmp_path: Path) -> None:
    conf = tmp_path / "conf.yml"
    conf.write_text('notifications-command: [/usr/bin/true, "{args}"]\n')
    allowed = {"AIFO_NOTIFICATIONS_CONFIG": str(conf), "AIFO_NOTIFICATIONS_ALLOWLIST": "true"}
    text = (ROOT / "examples" / "curl.md").read_text(encoding="utf-8")
    define, *blocks = BLOCKS.findall(text)
    token = tmp_path / "token"
    with running(warm, **allowed) as proxy:
        token.write_text(proxy.token)
        env = {**os.environ, "SOCKET": proxy.url.removeprefix("unix://"), "TOKEN_FILE": str(token)}
        for (_, script), (kind, expected) in zip(blocks[::2], blocks[1::2], strict=True):
            assert kind == "text"
            done = subprocess.run(
                ["sh", "-c", define[1] + script],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )  # fmt: skip
            assert done.stdout == expected, script + done.stderr
