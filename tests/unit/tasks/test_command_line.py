"""The three ways of being used: the same tasks, exact words, honest refusals."""

from __future__ import annotations

import os

import pytest

from tests.unit.tasks.conftest import IMPORTS, PYPROJECT, TOOL, Project

PRINT = ("sh", "-c", 'A=1; printf "%s|" "$A" "$@"; exit 7', "x")
WORDS = ("", "é=ü", "A=1", "-x", "--push", "--", "tool:node", "two words", "a\nb", "*")
BYTES = b"\xff\xfe=\x80"


@pytest.fixture(params=["script", "pyproject"])
def command(request: pytest.FixtureRequest, project: Project) -> str:
    """The two ways that keep every promise, each with a dodo.py."""
    project.dodo(TOOL)
    if request.param == "script":
        return "aifo"
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    return "doit"


def test_tail_and_status_are_exact(project: Project, command: str) -> None:
    ended = project.run(command, "run", "tool:node", "--", *PRINT, *WORDS)
    assert ended.out == "|".join(["1", *WORDS]) + "|"
    assert (ended.status, ended.err) == (7, "")


def test_a_tail_needs_no_run_and_no_text(project: Project, command: str) -> None:
    ended = project.run(command, "tool:node", "--", *PRINT, BYTES)
    assert os.fsencode(ended.out) == b"1|" + BYTES + b"|"
    assert (ended.status, ended.err) == (7, "")


def test_a_call_that_succeeds_writes_nothing_of_ours(project: Project, command: str) -> None:
    for _ in range(2):
        ended = project.run(command, "tool:node", "--", "printf", "x")
        assert (ended.status, ended.out, ended.err) == (0, "x", "")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["plain", "--", "x"], "-- x: plain takes no command"),
        (["tool", "--", "x"], "-- x: tool takes no command"),
        (["plian", "--", "x"], "plian: no such task\nhint: did you mean plain?"),
        (["tool:*", "--", "x"], "-- x: tool:* takes no command"),
        (["tool:node", "tool:other", "--", "x"], "tool:node and tool:other cannot both take it"),
        (["tool:node", "plain", "--", "x"], "tool:node takes it and must be the last task"),
        (["--", "x"], "-- x: no task is named that takes a command"),
        (["-k", "--", "plain"], "-- plain: no task is named that takes a command"),
        (["-k", "--", "x", "--", "plain"], "-- x -- plain: no task is named"),
        (["list", "--", "x"], "list: takes nothing after --"),
        (["tool:node", "x"], "x: is not a task; a command stands after --"),
        (["tool:node=debian"], "tool:node: a task's name ends before '='"),
        (["plain=1"], "plain: a task's name ends before '='"),
        (["NOCACHE=1", "plain"], "NOCACHE: no such variable\nhint: did you mean NO_CACHE?"),
        (["plain", "VERBOSE=maybe"], "VERBOSE: expected 1 or 0, found 'maybe'"),
        (["plain", ""], "'': an empty word names no task"),
        (["no-such-task"], 'Invalid parameter: "no-such-task"'),
    ],
)
def test_refusals_have_status_3_and_no_traceback(
    project: Project, command: str, words: list[str], problem: str
) -> None:
    ended = project.run(command, *words)
    assert ended.status == 3
    assert ended.err.startswith("ERROR: ")
    assert problem in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_several_tasks_and_options_before_the_tail(project: Project, command: str) -> None:
    ended = project.run(command, "-c", "-n", "2", "plain", "tool:node", "--", "printf", "x")
    assert (ended.status, ended.out) == (0, "x")
    assert "plain: running" in ended.err


def test_a_stock_task_keeps_its_own_positional_words(project: Project, command: str) -> None:
    project.dodo(
        TOOL + "def task_own():\n"
        "    return {'pos_arg': 'words', 'verbosity': 2, 'actions': ["
        "(lambda words: print(words),)]}\n"
    )
    assert project.run(command, "own", "a", "b").out == "['a', 'b']\n"
    assert project.run(command, "own", "--", "-a", "", "b=c").out == "['-a', '', 'b=c']\n"


def test_no_task_named_runs_the_projects_own_tasks_only(project: Project, command: str) -> None:
    ended = project.run(command)
    assert ended.status == 0
    assert ended.err == "plain: running\nplain: done\n"


def test_an_option_takes_a_value_with_an_equals_sign(project: Project, command: str) -> None:
    project.dodo(
        "def task_opt():\n"
        "    return {'params': [{'name': 'image', 'long': 'image', 'default': ''}],\n"
        "            'actions': [ToolAction(lambda image: log.step('got', image))]}\n"
    )
    ended = project.run(command, "opt", "--image", "node=debian:12", "DRY_RUN=0")
    assert "got: node=debian:12\n" in ended.err


@pytest.mark.parametrize("words", [["list"], ["help"], ["help", "run"], ["info", "plain"]])
def test_other_commands_work(project: Project, command: str, words: list[str]) -> None:
    ended = project.run(command, *words)
    assert ended.err == ""
    assert ended.out


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["run", "{}"], ["help", "run"]),
        (["{}"], ["help"]),
        (["list", "{}"], ["help", "list"]),
        (["run", "tool:node", "{}"], ["help", "tool:node"]),
        (["plain", "tool:node", "{}", "--", "x"], ["help", "tool:node"]),
        (["tool", "{}"], ["help", "tool"]),
    ],
)
def test_help_can_be_asked_for_by_an_option(
    project: Project, command: str, words: list[str], same: list[str], option: str
) -> None:
    ended = project.run(command, *(word.format(option) for word in words))
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == project.run(command, *same).out


def test_help_on_a_group_leads_to_a_subtask(project: Project, command: str) -> None:
    ended = project.run(command, "help", "tool")
    assert ended.out.endswith(f"  on a subtask: {command} help tool:node\n")


def test_an_option_of_the_tool_is_the_tools(project: Project, command: str) -> None:
    assert project.run(command, "tool:node", "--", "printf", "%s", "--help").out == "--help"


def test_a_tasks_own_option_of_that_name_is_its_own(project: Project, command: str) -> None:
    project.dodo(
        "def task_opt():\n"
        "    return {'params': [{'name': 'h', 'short': 'h', 'type': bool, 'default': False}],\n"
        "            'actions': [ToolAction(lambda h: log.step('got', str(h)))]}\n"
    )
    assert "got: True\n" in project.run(command, "opt", "-h").err


def test_forget_and_clean(project: Project, command: str) -> None:
    project.dodo(
        "def task_once():\n"
        "    return {'actions': [ToolAction(lambda: None)], 'uptodate': [changed(a=1)],\n"
        "            'clean': [ToolAction(lambda: log.step('once', 'cleaned'))]}\n"
    )
    assert project.run(command, "once").err == "once: running: first run\n"
    assert project.run(command, "once").err == "once: up to date\n"
    assert project.run(command, "forget", "once").status == 0
    assert project.run(command, "once").err == "once: running: first run\n"
    cleaned = project.run(command, "clean", "once")
    assert (cleaned.status, cleaned.err) == (0, "once: cleaned\n")


@pytest.mark.parametrize("command", ["aifo", "doit"])
def test_without_a_dodo_file_our_own_tasks_are_there(project: Project, command: str) -> None:
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    listed = project.run(command, "list", DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert (listed.status, listed.err) == (0, "")
    assert "toolchain " in listed.out
    ended = project.run(command)
    assert ended.status == 3
    assert ended.err == f"ERROR: {command}: no task is named\nhint: {command} list\n"


def test_a_dodo_file_that_imports_our_creators_does_not_double_them(
    project: Project, command: str
) -> None:
    project.dodo("from aifo_tasks import task_toolchain\nfrom aifo_tasks.tasks import task_caches")
    listed = project.run(command, "list")
    assert (listed.status, listed.err) == (0, "")
    names = [line.split()[0] for line in listed.out.splitlines()]
    assert names.count("toolchain") == names.count("caches") == 1
    assert "registry" in names


def test_a_creator_imported_under_another_name_has_that_name(
    project: Project, command: str
) -> None:
    project.dodo("from aifo_tasks import task_trust as task_believe")
    names = [line.split()[0] for line in project.run(command, "list").out.splitlines()]
    assert "believe" in names
    assert "trust" not in names


def test_a_task_of_the_projects_own_replaces_ours(project: Project, command: str) -> None:
    project.dodo("def task_caches():\n    return {'actions': [], 'doc': 'my own'}\n")
    lines = project.run(command, "list").out.splitlines()
    assert [line.split() for line in lines if line.startswith("caches ")] == [
        ["caches", "my", "own"]
    ]


def test_plain_import_lists_our_tasks(project: Project) -> None:
    project.dodo("from aifo_tasks import task_toolchain, task_trust")
    listed = project.run("doit", "list")
    assert (listed.status, listed.err) == (0, "")
    assert {line.split()[0] for line in listed.out.splitlines()} == {"toolchain", "trust"}


def test_plain_import_refuses_a_tail_with_the_line_to_add(project: Project) -> None:
    project.dodo("from aifo_tasks import task_toolchain")
    ended = project.run("doit", "run", "toolchain:node", "--", "true")
    assert ended.status == 3
    assert ended.err == (
        "ERROR: toolchain: doit's own loader would damage the words of a command\n"
        'hint: add to pyproject.toml: [tool.doit] loader = "aifo"; the command stands after --\n'
    )


def test_plain_import_leaves_other_tasks_their_tail(project: Project) -> None:
    project.dodo(
        "from aifo_tasks import task_toolchain\n"
        "def task_own():\n"
        "    return {'pos_arg': 'words', 'verbosity': 2, 'actions': ["
        "(lambda words: print(words),)]}\n"
    )
    assert "['a', 'b']\n" in project.run("doit", "own", "--", "a", "b").out


def test_stock_doit_never_hands_damaged_words_to_a_tool(project: Project) -> None:
    project.dodo(TOOL)
    ended = project.run("doit", "tool:node", "printf", "x")
    assert ended.status == 1
    assert "would damage the words of a command" in ended.out


def test_broken_configuration_prints_its_lines(project: Project, command: str) -> None:
    project.dodo(
        "def task_a():\n"
        "    raise ConfigError(['toolchains.yaml:1:2: a: what', 'toolchains.yaml:3:4: b: what'])\n"
    )
    ended = project.run(command, "list")
    assert ended.status == 3
    assert ended.err == (
        "ERROR: toolchains.yaml: is not valid\n"
        "toolchains.yaml:1:2: a: what\ntoolchains.yaml:3:4: b: what\n"
    )


def test_a_bug_while_loading_keeps_its_traceback(project: Project, command: str) -> None:
    project.dodo("def task_a():\n    return {'actions': [1 / 0]}\n")
    ended = project.run(command, "list")
    assert ended.status == 3
    assert "ZeroDivisionError" in ended.err


def test_pyproject_and_dodo_have_the_last_word(project: Project) -> None:
    project.dodo("DOIT_CONFIG = {'dep_file': 'mine.db'}\n" + TOOL)
    (project.root / "pyproject.toml").write_text(PYPROJECT + 'reporter = "console"\n')
    ended = project.run("doit", "plain")
    assert ended.out == ".  plain\n"
    assert (project.root / "mine.db").exists()
    assert not (project.root / ".aifo").exists()


def test_a_chosen_dodo_file_is_found_from_where_the_user_stands(project: Project) -> None:
    (project.root / "toolchains.yaml").write_text("extends: builtin\n")
    below = project.root / "below"
    below.mkdir()
    (below / "tasks.py").write_text(IMPORTS + TOOL)
    ended = project.aifo("-f", "tasks.py", "plain", cwd=below)
    assert (ended.status, ended.err) == (0, "plain: running\nplain: done\n")
    missing = project.aifo("-f", "none.py", "plain", cwd=below)
    assert missing.status == 3
    assert "Could not find dodo file" in missing.err
