"""Keys that reach the host take effect only in a content the user approved."""

from __future__ import annotations

from pathlib import Path

import pytest

from aifo_tasks import log
from aifo_tasks.config import read, trust
from aifo_tasks.config.chain import builtin_path
from aifo_tasks.config.check import schema
from aifo_tasks.config.load import Requests, load, requests
from aifo_tasks.config.tree import Node
from aifo_tasks.errors import AifoError
from aifo_tasks.model import AuditFile

MOUNT = "mounts: [{source: ~/corpus, target: /data}]"


def write(project: Path, body: str, name: str = "toolchains.yaml") -> None:
    (project / name).write_text(f"extends: builtin\ntoolchains:\n  node:\n    {body}\n")


def refusal(project: Path) -> str:
    with pytest.raises(AifoError) as caught:
        load(project)
    return str(caught.value)


def test_a_mount_waits_for_approval_and_then_takes_effect(project: Path, home: Path) -> None:
    write(project, MOUNT)
    for _ in range(2):
        assert refusal(project) == (
            "toolchains.yaml:4:13: not approved to reach the host: toolchains.node.mounts "
            "(hint: doit trust)"
        )
    trust.approve(requests(project).files)
    (mount,) = load(project).toolchains[0].mounts
    assert (mount.source, mount.target, mount.read_only) == (home / "corpus", "/data", True)


def test_every_key_is_named_with_its_place(project: Path) -> None:
    (project / "toolchains.yaml").write_text(
        "extends: builtin\nregistry:\n  probe: [registry.example.org]\ntoolchains:\n  node:\n"
        f"    forward: [NODE_ENV, '*_TOKEN']\n    {MOUNT}\n"
    )
    assert refusal(project) == (
        "toolchains.yaml:3:10: not approved to reach the host: registry.probe, "
        "toolchains.node.forward (toolchains.yaml:6:14), "
        "toolchains.node.mounts (toolchains.yaml:7:13) (hint: doit trust)"
    )


def test_requests_show_what_an_approval_would_allow(project: Path) -> None:
    write(project, MOUNT)
    (known,) = requests(project).files
    assert known[0] == project / "toolchains.yaml"
    assert requests(project) == Requests(
        files=(known,), lines=("toolchains.yaml:4:13: toolchains.node.mounts",)
    )


@pytest.mark.parametrize("command", ["[/usr/bin/say, '{args}']", "'/usr/bin/say {args}'"])
def test_a_command_of_the_host_waits_for_approval(project: Path, command: str) -> None:
    text = f"extends: builtin\nnotifications-command: {command}\n"
    (project / "toolchains.yaml").write_text(text + "toolchains: {}\n")
    assert refusal(project).startswith(
        "toolchains.yaml:2:24: not approved to reach the host: notifications-command "
    )
    trust.approve(requests(project).files)
    assert load(project).notifications_command == ("/usr/bin/say", "{args}")


def test_another_record_of_calls_waits_for_approval(project: Path, home: Path) -> None:
    text = "extends: builtin\naudit: {file: ~/calls, size: 1k}\ntoolchains: {}\n"
    (project / "toolchains.yaml").write_text(text)
    assert refusal(project) == (
        "toolchains.yaml:2:15: not approved to reach the host: audit.file, "
        "audit.size (toolchains.yaml:2:30) (hint: doit trust)"
    )
    trust.approve(requests(project).files)
    assert load(project).audit == AuditFile(file=home / "calls", size=1024)


def test_rules_wait_for_approval(project: Path) -> None:
    write(project, "policy: [{tool: npm, deny-arguments: [publish]}]")
    assert "toolchains.node.policy" in refusal(project)
    trust.approve(requests(project).files)
    (rule,) = load(project).toolchains[0].policy
    assert (rule.tool, rule.deny_arguments, rule.allow_cwd) == ("npm", ("publish",), ())


@pytest.mark.parametrize(
    "body",
    [
        "forward: [NODE_ENV]",
        "forward: []",
        "mounts: []",
        "network: none",
        "network: isolated",
        "network: bridge",
        "environment: {A: b}",
    ],
)
def test_what_goes_no_further_than_the_shipped_file_needs_no_approval(
    project: Path, body: str
) -> None:
    write(project, body)
    assert requests(project).lines == ()
    load(project)


def test_a_network_is_wider_when_it_stands_later_in_the_schema() -> None:
    def node(network: str) -> Node:
        text = f"toolchains: {{node: {{{network and f'network: {network}'}}}}}"
        found, _ = read.read(text.encode(), name="x", depth=0)
        assert found is not None
        return found

    assert trust.reaching(node("internal"), node("none"), schema()) != []
    assert trust.reaching(node("none"), node("internal"), schema()) == []
    assert trust.reaching(node("none"), node("none"), schema()) == []
    assert trust.reaching(node(""), node("isolated"), schema()) != []  # the default is bridge
    assert trust.reaching(node(""), node("bridge"), schema()) == []
    assert trust.reaching(node("bridge"), node(""), schema()) == []


def test_a_kind_of_its_own_starts_from_the_defaults(project: Path) -> None:
    image = 'image: {name: lua, context: x, base: [{reference: "lua:{version}", version: "5"}]}'
    (project / "toolchains.yaml").write_text(
        f"toolchains:\n  lua:\n    {image}\n    network: bridge\n    forward: [LUA_PATH]\n"
    )
    assert requests(project).lines == ("toolchains.yaml:5:14: toolchains.lua.forward",)


def test_one_byte_more_needs_approval_again(project: Path) -> None:
    write(project, MOUNT)
    trust.approve(requests(project).files)
    load(project)
    write(project, MOUNT + " ")
    assert "not approved" in refusal(project)


def test_an_approval_taken_back_is_noticed_although_the_file_is_remembered(project: Path) -> None:
    write(project, MOUNT)
    trust.approve(requests(project).files)
    load(project)
    trust.trusted_path().unlink()
    assert "not approved" in refusal(project)


def test_the_file_that_asks_is_the_one_to_approve(project: Path) -> None:
    (project / "toolchains.yaml").write_text("extends: team.yaml\n")
    write(project, MOUNT, "team.yaml")
    assert refusal(project).startswith("team.yaml:4:13: ")
    files = requests(project).files
    assert [path.name for path, _ in files] == ["toolchains.yaml", "team.yaml"]
    trust.approve([pair for pair in files if pair[0].name == "team.yaml"])
    assert len(load(project).toolchains[0].mounts) == 1


def test_the_shipped_file_needs_no_approval(project: Path) -> None:
    assert requests(project) == Requests(files=(), lines=())
    assert requests(builtin_path().parent).lines == ()


def test_an_approval_is_for_one_path_and_one_content(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    trust.approve([(here, "1" * 64)])
    trust.approve([(there, "2" * 64)])
    assert trust.is_approved(here, "1" * 64)
    assert trust.is_approved(there, "2" * 64)
    assert not trust.is_approved(here, "2" * 64)
    trust.approve([(here, "3" * 64)])
    assert not trust.is_approved(here, "1" * 64)
    assert trust.trusted_path().stat().st_mode & 0o777 == 0o600


def test_approvals_inside_the_project_are_worth_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever works in its home directory lets contained tools write there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project / ".config"))
    write(project, MOUNT)
    trust.approve(requests(project).files)
    assert refusal(project) == (
        f"{project}/.config/aifo/trusted.json: approvals cannot be kept inside the project, "
        "where its tools can write (hint: export XDG_CONFIG_HOME=/a/directory/outside)"
    )


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"/a": 1}'])
def test_approvals_nobody_can_read_approve_nothing(content: bytes) -> None:
    trust.trusted_path().parent.mkdir(parents=True)
    trust.trusted_path().write_bytes(content)
    assert not trust.is_approved(Path("/a"), "1")
    trust.approve([(Path("/a"), "1")])
    assert trust.is_approved(Path("/a"), "1")


def test_a_dry_run_approves_nothing() -> None:
    log.configure(dry_run=True)
    try:
        trust.approve([(Path("/a"), "1")])
    finally:
        log.configure(dry_run=False)
    assert not trust.is_approved(Path("/a"), "1")
    assert not trust.trusted_path().parent.exists()
