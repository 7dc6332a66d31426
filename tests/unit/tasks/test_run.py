"""The runners: threads, setup, teardown, dry run, and who may use the terminal."""

from __future__ import annotations

import pytest

from tests.unit.tasks.conftest import Project

BOTH = pytest.mark.parametrize("options", [[], ["-n", "1"], ["-n", "3"]])


@BOTH
def test_a_failed_setup_blocks_its_task(project: Project, options: list[str]) -> None:
    project.dodo(
        "def task_bad():\n    return {'actions': [ToolAction(lambda: 5)]}\n"
        "def task_work():\n"
        "    return {'actions': [['touch', 'worked']], 'setup': ['bad']}\n"
    )
    ended = project.aifo("run", *options, "-c", "work")
    assert ended.status == 5
    assert "work: not run: bad failed\n" in ended.err
    assert not (project.root / "worked").exists()


@BOTH
def test_setup_runs_before_and_teardown_once_in_the_main_thread(
    project: Project, options: list[str]
) -> None:
    project.dodo(
        "def note(text):\n"
        "    where = 'main' if threading.current_thread() is threading.main_thread() else 'x'\n"
        "    with open('notes', 'a') as file: file.write(f'{text} {where}\\n')\n"
        "def task_up():\n"
        "    return {'actions': [['true']], 'teardown': [(note, ['down'])]}\n"
        "def task_use():\n"
        "    for name in 'abcd':\n"
        "        yield {'name': name, 'setup': ['up'], 'actions': [ToolAction(\n"
        "            lambda: time.sleep(0.1))]}\n"
    )
    ended = project.aifo("run", *options, "use")
    assert ended.status == 0
    assert (project.root / "notes").read_text() == "down main\n"
    assert ended.err.startswith("up: running\n")
    assert ended.err.endswith("tasks: 5 ran\n")


def test_tasks_run_side_by_side_at_most_as_many_as_asked_for(project: Project) -> None:
    project.dodo(
        "gate = threading.Barrier(3, timeout=20)\n"
        "now, most = set(), []\n"
        "def meet(task):\n"
        "    now.add(task.name); most.append(len(now))\n"
        "    gate.wait(); time.sleep(0.05); now.discard(task.name)\n"
        "def task_meet():\n"
        "    for number in range(6):\n"
        "        yield {'name': str(number), 'actions': [ToolAction(meet)]}\n"
        "def task_count():\n"
        "    return {'task_dep': ['meet'], 'actions': [\n"
        "        ToolAction(lambda: log.step('most', str(max(most))))]}\n"
    )
    ended = project.aifo("-n", "3", "count")
    assert ended.status == 0
    assert "most: 3\n" in ended.err


def test_a_chain_of_tasks_runs_in_order_in_threads(project: Project) -> None:
    project.dodo(
        "def task_link():\n"
        "    for number in range(20):\n"
        "        yield {'name': str(number),\n"
        "               'actions': [ToolAction(lambda: None)],\n"
        "               'task_dep': [f'link:{number - 1}'] if number else []}\n"
    )
    ended = project.aifo("-n", "4", "link:19")
    assert ended.err.splitlines() == [
        *(f"link:{number}: running" for number in range(20)), "tasks: 20 ran",
    ]  # fmt: skip


def test_python_actions_in_threads_keep_their_output_apart(project: Project) -> None:
    project.dodo(
        "def talk(name):\n"
        "    for _ in range(50):\n"
        "        print(name); time.sleep(0.0005)\n"
        "    Path(name).write_text('done')\n"
        "def task_talk():\n"
        "    for name in 'abc':\n"
        "        yield {'name': name, 'actions': [(talk, [name])]}\n"
    )
    ended = project.aifo("run", "-n", "3", "-r", "json", "-o", "report.json", "talk")
    assert ended.status == 0
    import json

    tasks = json.loads((project.root / "report.json").read_text())["tasks"]
    outputs = {task["name"]: task["out"] for task in tasks if task["out"]}
    assert outputs == {f"talk:{name}": f"{name}\n" * 50 for name in "abc"}


def test_an_interactive_task_runs_in_the_main_thread(project: Project) -> None:
    project.dodo(
        "def where():\n"
        "    return 0 if threading.current_thread() is threading.main_thread() else 1\n"
        "def task_where():\n"
        "    for name in 'ab':\n"
        "        yield {'name': name, 'actions': [ToolAction(where, interactive=True)]}\n"
    )
    assert project.aifo("-n", "2", "where").status == 0


@BOTH
def test_tasks_that_wait_for_one_another_are_an_error(project: Project, options: list[str]) -> None:
    project.dodo(
        "def task_a():\n    return {'actions': [['true']], 'task_dep': ['b']}\n"
        "def task_b():\n    return {'actions': [['true']], 'task_dep': ['a']}\n"
    )
    ended = project.aifo("run", *options, "a")
    assert ended.status != 0
    assert "Cyclic" in ended.err


@pytest.mark.parametrize(
    "words", [["DRY_RUN=1", "mark"], ["mark", "--dry-run"], ["-n", "2", "mark", "--dry-run"]]
)
def test_a_dry_run_does_nothing_in_any_task(project: Project, words: list[str]) -> None:
    project.dodo(
        "def mark():\n"
        "    if log.command('touch marked'):\n"
        "        Path('marked').touch()\n"
        "def task_before():\n"
        "    yield {'name': 'ours', 'actions': [ToolAction(mark)]}\n"
        "    yield {'name': 'doits', 'actions': [['touch', 'a b'], 'touch c', (mark,)],\n"
        "           'teardown': ['touch torn']}\n"
        "def task_mark():\n"
        "    return {'actions': [ToolAction(mark)], 'task_dep': ['before'],\n"
        "            'uptodate': [changed(a=1)],\n"
        "            'params': variables.params('DRY_RUN', 'VERBOSE')}\n"
    )
    before = sorted(path.name for path in project.root.iterdir() if path.name != "__pycache__")
    ended = project.aifo(*words)
    after = sorted(path.name for path in project.root.iterdir() if path.name != "__pycache__")
    assert ended.status == 0
    assert after == before
    for line in ("touch marked", "touch 'a b'", "touch c", "# Python: function mark"):
        assert f"{line}\n" in ended.err
    assert "mark: running: first run\n" in project.aifo("mark").err
    assert "mark: up to date\n" in project.aifo("mark").err


@pytest.mark.parametrize("words", [["VERBOSE=1", "mark"], ["mark", "--verbose"]])
def test_verbose_prints_commands_and_does_them(project: Project, words: list[str]) -> None:
    project.dodo(
        "def task_mark():\n"
        "    return {'actions': [ToolAction(lambda: process.change(['touch', 'x']) and None)],\n"
        "            'params': variables.params('DRY_RUN', 'VERBOSE')}\n"
    )
    assert "touch x\n" in project.aifo(*words).err
    assert (project.root / "x").exists()


def test_a_warm_call_writes_nothing_to_the_database(project: Project) -> None:
    project.dodo("def task_a():\n    return {'actions': [ToolAction(lambda: None)]}\n")
    project.aifo("a")
    database = project.root / ".aifo" / "doit.db"
    before = database.stat().st_mtime_ns
    database.chmod(0o400)
    ended = project.aifo("a")
    assert (ended.status, ended.err) == (0, "a: running\n")
    assert database.stat().st_mtime_ns == before
