"""Notifications: which commands can be configured, which requests they take, how they run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aifo_tasks.config import notifications
from aifo_tasks.errors import AifoError
from aifo_tasks.toolexec import notify
from aifo_tasks.toolexec.answers import RefusalError
from aifo_tasks.toolexec.notify import Notifier
from aifo_tasks.toolexec.requests import NotifyRequest


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A directory of programs: say, and a link to one elsewhere."""
    directory = tmp_path / "bin"
    directory.mkdir()
    say = directory / "say"
    say.write_text(
        f'#!/bin/sh\nenv > {tmp_path}/env\nprintf "%s|" "$@" > {tmp_path}/said\n'
        f'[ "$1" != hang ] || sleep 1234\n[ "$1" != fail ]\n'
    )
    say.chmod(0o755)
    (directory / "link").symlink_to("/bin/sh")
    (directory / "plain").write_text("")
    return directory


def configured(bin_dir: Path, *words: str, **environ: str) -> Notifier:
    return notify.configured(words, environ, directories=[str(bin_dir)])


def ask(command: str, *arguments: str) -> NotifyRequest:
    return NotifyRequest(command=command.encode(), arguments=tuple(a.encode() for a in arguments))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "the program is not an absolute path"),
        (("say",), "the program is not an absolute path"),
        (("/nowhere/say",), "/nowhere/say is in none of"),
        (("{bin}/../bin2/say",), "is in none of"),
        (("{bin}/link",), "is in none of"),
        (("{bin}/rm",), "rm is not allowed"),
        (("{bin}/plain",), "plain is no program"),
        (("{bin}/say", "{args}", "x"), "{args} stands at the end or nowhere"),
    ],
)
def test_what_cannot_be_configured(bin_dir: Path, words: tuple[str, ...], problem: str) -> None:
    given = [word.replace("{bin}", str(bin_dir)) for word in words]
    with pytest.raises(AifoError) as info:
        configured(bin_dir, *given, AIFO_NOTIFICATIONS_ALLOWLIST="link, plain")
    assert problem in info.value.problem.replace(str(bin_dir), "{bin}")


def test_fixed_arguments_must_be_equal(bin_dir: Path, tmp_path: Path) -> None:
    notifier = configured(bin_dir, f"{bin_dir}/say", "done", "now")
    assert notifier.run(ask("say", "done", "now")).status == 200
    assert (tmp_path / "said").read_text() == "done|now|"
    for arguments in ([], ["done"], ["now", "done"], ["done", "now", "x"]):
        with pytest.raises(RefusalError, match="its arguments are fixed"):
            notifier.run(ask("say", *arguments))
    with pytest.raises(RefusalError, match="forbidden: rm: only say is configured"):
        notifier.run(ask("rm"))


def test_open_arguments_have_a_number(bin_dir: Path, tmp_path: Path) -> None:
    notifier = configured(
        bin_dir, f"{bin_dir}/say", "-v", "{args}", AIFO_NOTIFICATIONS_MAX_ARGS="2"
    )
    assert notifier.run(ask("say", "a b", "$(x)")).exit_code == 0
    assert (tmp_path / "said").read_text() == "-v|a b|$(x)|"
    with pytest.raises(RefusalError, match="at most 2 arguments"):
        notifier.run(ask("say", "a", "b", "c"))


def test_the_environment_is_small_and_the_status_told(
    bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LC_TIME", "C")
    notifier = configured(bin_dir, f"{bin_dir}/say", "{args}")
    answer = notifier.run(ask("say", "fail"))
    assert (answer.status, answer.exit_code) == (200, 1)
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert "LC_TIME" in names
    assert "SECRET" not in names
    assert names <= {"PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"} | {
        name for name in names if name.startswith("LC_")
    }


def test_one_that_hangs_is_ended(bin_dir: Path) -> None:
    found = configured(bin_dir, f"{bin_dir}/say", "{args}")
    notifier = Notifier(name="say", program=found.program, arguments=(), open_end=True, seconds=0.5)
    with pytest.raises(RefusalError) as info:
        notifier.run(ask("say", "hang"))
    assert (info.value.answer.status, info.value.answer.exit_code) == (408, 124)
    running = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
    lines = [path.read_bytes() for path in running if path.exists()]
    assert not any(str(bin_dir).encode() in line for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("notifications-command: [/usr/bin/say, '{args}']\n", ("/usr/bin/say", "{args}")),
        ("model: x\nnotifications-command: /usr/bin/say 'a b'\n", ("/usr/bin/say", "a b")),
        ("model: x\n", ()),
        ("", ()),
    ],
)
def test_the_users_own_file(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    path = tmp_path / "conf.yml"
    path.write_text(text)
    assert notifications.command({"AIFO_NOTIFICATIONS_CONFIG": str(path)}) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("notifications-command: {a: b}\n", "expected a list of words, or text"),
        ("notifications-command: [1]\n", "expected a list of words, or text"),
        ('notifications-command: "\'"\n', "no closing quotation"),
        ("notifications-command: [\n", "is no YAML"),
        (None, "no such file"),
    ],
)
def test_a_bad_file_is_said(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "conf.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AifoError, match=problem):
        notifications.command({"AIFO_NOTIFICATIONS_CONFIG": str(path)})
