"""From a project's directory to the model: found, merged, remembered, loaded again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aifo_tasks import __version__, files
from aifo_tasks.config import snapshot
from aifo_tasks.config.chain import builtin_path
from aifo_tasks.config.load import find_root, load
from aifo_tasks.errors import ConfigError
from aifo_tasks.model import Cache, Config, Image, Limits, Registry, Tool, Toolchain

OWN = """\
registry: {internal-prefix: registry.example.org/aifo}
toolchains:
  c-lua:
    image:
      name: my-lua
      context: images/lua
      base: [{bootstrap: {suite: bookworm, variant: minbase}, version: "5.4"}]
      packages: [{name: luafmt, version: 1.0.0}]
    tools: [lua, {name: luac, cwd: any}]
    development-tools: [make]
    mounts: []
    limits: {memory: 512m, home-size: 1048576}
    network: none
"""


def write(project: Path, text: str, name: str = "toolchains.yaml") -> None:
    (project / name).write_text(text)


def record(project: Path) -> Path:
    """Where the project's validated data is remembered."""
    return snapshot._path(project)


# finding


@pytest.mark.parametrize("name", ["toolchains.yaml", "dodo.py"])
def test_the_root_is_the_nearest_directory_with_a_file_of_ours(project: Path, name: str) -> None:
    (project / name).touch()
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    assert find_root(deep) == project
    assert find_root(project) == project


@pytest.mark.parametrize(
    ("settings", "is_root"),
    [
        ('[project]\nname = "x"\n\n[tool.doit]\nloader = "aifo"\n', True),
        ("[tool.doit]\nverbosity = 2\nloader='aifo'", True),
        ("[tool.doit]\n[tool.other]\nloader = 'aifo'\n", False),
        ("[tool.doit]\nloader = 'dodo'\n", False),
    ],
)
def test_a_project_s_settings_that_name_our_loader_make_a_root(
    project: Path, settings: str, is_root: bool
) -> None:
    (project / "pyproject.toml").write_text(settings)
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    assert find_root(deep) == (project if is_root else deep)


def test_without_a_file_the_root_is_where_one_stands(project: Path) -> None:
    assert find_root(project) == project


def test_a_broken_link_is_still_a_file_of_ours(project: Path) -> None:
    (project / "toolchains.yaml").symlink_to("nowhere")
    (project / "a").mkdir()
    assert find_root(project / "a") == project


# reading


def test_a_project_without_a_file_has_the_shipped_toolchains(project: Path) -> None:
    config = load(project)
    assert config.root == project
    assert config.files == ()
    kinds = [toolchain.kind for toolchain in config.toolchains]
    assert kinds == ["node", "rust", "python", "c-cpp", "go"]
    node = config.toolchains[0]
    assert node.image.context == builtin_path().parent / "images" / "node"
    assert node.caches == (Cache(volume="aifo-node-cache", target="/home/coder/.cache"),)
    assert node.limits == Limits()
    assert config.toolchain("ts") == node


def test_a_project_s_own_file_may_stand_alone(project: Path) -> None:
    write(project, OWN)
    config = load(project)
    (lua,) = config.toolchains
    assert config == Config(
        root=project,
        files=(project / "toolchains.yaml",),
        registry=Registry(internal_prefix="registry.example.org/aifo"),
        toolchains=(
            Toolchain(
                kind="c-lua",
                image=Image(
                    name="my-lua",
                    context=project / "images" / "lua",
                    base=lua.image.base,
                    packages=lua.image.packages,
                    shared=builtin_path().parent / "images" / "shared",
                ),
                tools=(
                    Tool(name="lua"),
                    Tool(name="luac", cwd="any"),
                    Tool(name="make", development=True),
                ),
                limits=Limits(memory=512 * 1024**2, home_size=1024**2),
                network="none",
            ),
        ),
    )
    (base,) = lua.image.base
    assert base.bootstrap is not None
    assert (base.version, base.bootstrap.suite, base.reference) == ("5.4", "bookworm", None)


def test_a_file_says_only_what_differs(project: Path) -> None:
    (project / "sub").mkdir()
    write(project, "extends: sub/team.yaml\ntoolchains: {node: {limits: {pids: 100}}}\n")
    write(
        project,
        "extends: builtin\ntoolchains:\n"
        '  node: {image: {version: "22.12.0", context: docker}, limits: {memory: 1g, pids: 50}}\n',
        "sub/team.yaml",
    )
    config = load(project)
    node, *_ = config.toolchains
    assert (node.limits.pids, node.limits.memory, node.limits.tmp_size) == (100, 1024**3, 2 << 30)
    assert node.image.version == "22.12.0"
    assert node.image.context == project / "sub" / "docker"
    assert node.tools[0] == Tool(name="node")
    own, team = project / "toolchains.yaml", project / "sub" / "team.yaml"
    assert config.files == (own, team, builtin_path())


def test_an_image_with_shims_has_one_for_every_tool(project: Path) -> None:
    write(project, OWN.replace("name: my-lua", "name: my-lua\n      shims: true"))
    (toolchain,) = load(project).toolchains
    assert toolchain.image.shims == ("lua", "luac", "make")


def test_null_takes_away_what_every_extended_file_says(project: Path) -> None:
    write(project, "extends: team.yaml\ntoolchains: {node: {limits: null, managers: null}}\n")
    write(
        project,
        "extends: builtin\ntoolchains: {node: {limits: {pids: 50, max-seconds: 5}}}\n",
        "team.yaml",
    )
    node, *_ = load(project).toolchains
    assert node.limits == Limits()
    assert node.managers == ()


def test_the_project_is_known_by_its_real_path(project: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project)
    assert load(tmp_path / "link").root == project


def test_the_shipped_file_is_the_project_s_own_in_this_package_s_checkout() -> None:
    config = load(builtin_path().parent)
    assert config.files == (builtin_path(),)


# remembering


def forget_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, reading YAML fails: what loads comes from the cache."""
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)


def test_what_was_loaded_once_is_loaded_again_without_yaml(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "extends: builtin\n")
    fresh = load(project)
    forget_yaml(monkeypatch)
    assert load(project) == fresh


def test_a_project_without_a_file_is_remembered_until_there_is_one(project: Path) -> None:
    assert load(project).toolchains[0].kind == "node"
    write(project, OWN)
    assert load(project).toolchains[0].kind == "c-lua"
    (project / "toolchains.yaml").unlink()
    assert load(project).toolchains[0].kind == "node"


def test_a_change_is_seen_even_when_size_and_times_are_the_same(project: Path) -> None:
    path = project / "toolchains.yaml"
    write(project, OWN)
    assert load(project).toolchains[0].limits.memory == 512 << 20
    before = os.stat(path)
    path.write_bytes(path.read_bytes().replace(b"512m", b"256m"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load(project).toolchains[0].limits.memory == 256 << 20


def test_a_change_in_the_same_tick_is_seen_by_its_content(project: Path) -> None:
    """What a coarse clock makes of it: every fact of the file equal, the content not."""
    path = project / "toolchains.yaml"
    write(project, OWN)
    known = snapshot.identity(path)
    assert snapshot._is_current(known)
    path.write_bytes(path.read_bytes().replace(b"512m", b"256m"))
    known[1:5] = snapshot._facts(os.lstat(path))
    assert not snapshot._is_current(known)


def test_a_file_that_rests_is_known_by_its_times_alone(project: Path) -> None:
    path = project / "toolchains.yaml"
    write(project, OWN)
    status = os.stat(path)
    hour_ago = status.st_mtime_ns - 3600 * 10**9
    status = os.stat_result(list(status), {"st_mtime_ns": hour_ago, "st_ctime_ns": hour_ago})
    facts = [status.st_ino, status.st_size, hour_ago, hour_ago]
    assert snapshot.identity(path, status=status, data=b"x") == [str(path), *facts, ""]


def test_a_change_of_an_extended_file_is_seen(project: Path) -> None:
    write(project, "extends: team.yaml\n")
    write(project, "extends: builtin\n", "team.yaml")
    assert load(project).toolchains[0].network == "bridge"
    write(project, "extends: builtin\ntoolchains: {node: {network: none}}\n", "team.yaml")
    assert load(project).toolchains[0].network == "none"


def test_a_file_that_becomes_bad_is_refused_every_time(project: Path) -> None:
    write(project, "extends: builtin\n")
    load(project)
    write(project, "extends: builtin\nx: 1\n")
    for _ in range(2):
        with pytest.raises(ConfigError):
            load(project)


def test_what_another_version_of_the_package_remembered_is_ignored(project: Path) -> None:
    load(project)
    assert snapshot.recall(project) is not None
    known = json.loads(record(project).read_bytes())
    assert known["key"][0] == __version__
    known["key"][0] = "0.0.1"
    record(project).write_text(json.dumps(known))
    assert snapshot.recall(project) is None


def test_what_another_package_of_this_version_remembered_is_ignored(
    project: Path, tmp_path: Path
) -> None:
    """It lies elsewhere, and with it what the builtin file names."""
    top = tmp_path / "other"
    for name in ("aifo_tasks", "schema", "images"):
        shutil.copytree(files.resource(name), top / name)
    shutil.copy(builtin_path(), top)
    script = (
        "import sys, pathlib, aifo_tasks.config.load as l;"
        "print(l.load(pathlib.Path(sys.argv[1])).toolchain('node').image.context)"
    )
    load(project)
    other = subprocess.run(
        [sys.executable, "-c", script, project],
        cwd=top, env=os.environ | {"PYTHONPATH": str(top)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert other.stdout == f"{top}/images/node\n"


def test_another_home_reads_anew(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(project)
    monkeypatch.setenv("HOME", "/home/else")
    assert snapshot.recall(project) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"key": 1}', b'{"key": [], "files": 3}',
     b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "binary", "foreign", "other types", "deep"],
)  # fmt: skip
def test_a_cache_that_makes_no_sense_is_ignored(project: Path, content: bytes) -> None:
    fresh = load(project)
    record(project).write_bytes(content)
    assert load(project) == fresh
    assert json.loads(record(project).read_bytes())["data"]["files"] == []


@pytest.mark.parametrize("facts", [[1], ["a", 2, 3, 4, 5, 6], None, 7])
def test_a_cache_with_strange_files_is_ignored(project: Path, facts: object) -> None:
    fresh = load(project)
    known = json.loads(record(project).read_bytes())
    known["files"][0] = facts
    record(project).write_text(json.dumps(known))
    assert load(project) == fresh


def test_a_cache_that_is_a_link_is_ignored(project: Path, tmp_path: Path) -> None:
    load(project)
    record(project).rename(tmp_path / "elsewhere")
    record(project).symlink_to(tmp_path / "elsewhere")
    assert snapshot.recall(project) is None


def test_a_cache_of_another_user_is_ignored(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(project)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert snapshot.recall(project) is None


def test_a_cache_inside_the_project_is_neither_written_nor_believed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contained tool could write there that it may mount the host's directories."""
    load(project)
    (tmp_path / "cache").rename(project / ".cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / ".cache"))
    assert record(project).is_file()
    assert snapshot.recall(project) is None
    record(project).unlink()
    load(project)
    assert not record(project).exists()


def test_a_cache_that_cannot_be_written_is_no_error(project: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a directory should be")
    assert load(project) == load(project)


def test_the_cache_is_the_user_s_alone(project: Path) -> None:
    load(project)
    assert record(project).stat().st_mode & 0o777 == 0o600
    assert record(project).is_relative_to(files.cache_dir())


def test_a_warm_load_imports_nothing_heavy(project: Path) -> None:
    write(project, OWN)
    load(project)
    script = (
        "import sys; from pathlib import Path; from aifo_tasks.config.load import load\n"
        f"assert load(Path({str(project)!r})).toolchains[0].kind == 'c-lua'\n"
        "print(*(name for name in ('docker', 'ruamel', 'ruamel.yaml', 'jsonschema', 'asyncio',"
        " 'aifo_tasks.config.read', 'aifo_tasks.config.check') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "\n"
