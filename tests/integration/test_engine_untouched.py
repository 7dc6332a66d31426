"""A dry run changes nothing of all that an engine has."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.integration.project import Project, docker
from tests.integration.test_dry_run import another_user


def engine_content() -> list[set[str]]:
    """Everything the engine has, by name and id."""
    listed = (
        docker("ps", "--all", "--no-trunc", "--format", "{{.ID}}"),
        docker("images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"),
        docker("volume", "ls", "--quiet"),
        docker("network", "ls", "--quiet"),
    )
    return [set(text.splitlines()) for text in listed]


def files_below(*directories: str | Path) -> list[str]:
    """Every path but the cache of the parsed configuration, which is written when read."""
    found = [path for top in directories for path in Path(top).rglob("*")]
    config = [path for path in found if path.parent.name == "config" or path.name == "config"]
    return sorted(str(path) for path in found if path not in config and path.name != "aifo")


def test_nothing_is_touched(fresh: Project, tmp_path: Path) -> None:
    """Not the engine (its own record of events says so), not a file of project or user."""
    elsewhere = another_user(tmp_path)
    since = time.time()
    seen = f"aifo-test-seen-{os.getpid()}"  # shows that the engine's record is complete
    docker("volume", "create", seen)
    docker("volume", "rm", seen)
    before = fresh.tree(), engine_content(), files_below(fresh.path, *elsewhere.values())
    for words in (
        ("toolchain:node", "--dry-run", "--", "pnpm", "test"),
        ("build_image:node", "DRY_RUN=1", "NO_CACHE=1"),
        ("install:node", "DRY_RUN=1"),
        ("warm_cache:node", "DRY_RUN=1"),
        ("sidecar_stop", "DRY_RUN=1"),
        ("purge_caches", "DRY_RUN=1", "OVERLAYS=1", "YES=1"),
        ("node_install", "DRY_RUN=1"),
        ("engine", "DRY_RUN=1"),
    ):
        done = fresh.doit("run", *words, env=elsewhere)
        assert "Traceback" not in done.stderr
        # there is no pnpm on the host, and somebody's sidecar may use the cache
        refused = words[0] in {"node_install", "purge_caches"}
        assert done.returncode in ({0, 1} if refused else {0}), done.stderr
    tree, content, files = before
    assert engine_content() == content
    assert (fresh.tree(), files_below(fresh.path, *elsewhere.values())) == (tree, files)
    record = docker(
        "events", "--since", f"{since:.6f}", "--until", f"{time.time():.6f}",
        "--format", "{{.Type}} {{.Action}} {{json .Actor}}",
    )  # fmt: skip
    assert seen in record
    changing = ("create", "start", "destroy", "kill", "pull", "tag", "delete", "build", "mount")
    ours = [line for line in record.splitlines() if line.split()[1] in changing]
    assert not [line for line in ours if "aifo" in line and seen not in line]
