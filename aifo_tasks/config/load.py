"""The public door: find toolchains.yaml, read it once, remember it as JSON."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aifo_tasks.config import build, roots, snapshot
from aifo_tasks.errors import ConfigError, UnapprovedError
from aifo_tasks.locked import NAME as LOCK
from aifo_tasks.model import Config
from aifo_tasks.value import dataclass

if TYPE_CHECKING:
    from aifo_tasks.config.chain import Chain
    from aifo_tasks.config.tree import Node, Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What a project's own files ask of the host, approved or not.

    ``files`` holds each file with the SHA-256 of what was read, ``lines`` one line
    ``file:line:column: key`` for each key that reaches the host.
    """

    files: tuple[tuple[Path, str], ...]
    lines: tuple[str, ...]


def find_root(cwd: Path) -> Path:
    """The nearest directory upwards where a project begins, else ``cwd``; see ``roots``."""
    for directory in (cwd, *cwd.parents):
        marked = any(os.path.lexists(directory / name) for name in roots.MARKERS)
        if marked or roots.settings(directory) is not None:
            return directory
    return cwd


def load(start: Path) -> Config:
    """The validated model of the project at ``start``; the shipped toolchains without a file.

    What is wrong with toolchains.lock is told in the model: it can be written anew.

    Raises ConfigError with every finding, AifoError for a file that cannot be read and for
    keys that reach the host in a file nobody approved.
    """
    root = Path(os.path.realpath(start))
    data = snapshot.recall(root)
    if data is None:
        data = _load_fresh(root)
    files = tuple(Path(path) for path in data["files"])
    config = build.config(data["merged"], root=root, files=files)
    if data["lock"] is None and not data["lock-problems"]:
        return config
    from aifo_tasks.config import locks

    lock = None if data["lock"] is None else locks.lock(data["lock"])
    return replace(config, lock=lock, lock_problems=tuple(data["lock-problems"]))


def requests(start: Path) -> Requests:
    """What the files of the project at ``start`` ask of the host, for ``doit trust`` to show.

    Raises as ``load`` does, apart from the missing approval.
    """
    from aifo_tasks.config.tree import shown_keys

    chain, merged = _validated(Path(os.path.realpath(start)))
    return Requests(
        files=tuple((source.path, source.digest) for source in chain.sources
                    if not source.is_builtin),
        lines=tuple(f"{spot.node.place}: {shown_keys(spot.keys)}"
                    for spot in _reaching(chain, merged)),
    )  # fmt: skip


def _load_fresh(root: Path) -> snapshot.Data:
    """Read, check and remember; what else decides is looked at before the files are read."""
    from aifo_tasks.config import chain as chains
    from aifo_tasks.config import check, locks, trust

    own = root / chains.NAME
    others = (
        check.schema_path(), check.schema_path("lock"), trust.trusted_path(), root / LOCK
    )  # fmt: skip
    identities = [snapshot.identity(path) for path in others]
    lock, problems = locks.read(root)
    chain, merged = _validated(root)
    _refuse_unapproved(chain, merged, root)
    identities += [source.identity for source in chain.sources]
    has_own = chain.sources[0].path == own
    if not has_own:
        identities.append([str(own)])  # must still be missing
    data = {
        "files": [str(source.path) for source in chain.sources] if has_own else [],
        "merged": chains.finished(chain, merged),
        "lock": lock,
        "lock-problems": problems,
    }
    snapshot.remember(root, identities, data)
    return data


def _validated(root: Path) -> tuple[Chain, Node]:
    """The files and their merged content; ConfigError with everything that is wrong."""
    from aifo_tasks.config import chain as chains
    from aifo_tasks.config import check, rules

    chain = chains.read_chain(root)
    findings = list(chain.findings)
    if chain.merged is not None:
        findings += check.findings(chain.merged)
        findings += rules.findings(chain.merged, root=root, home=Path.home())
        findings += chains.context_findings(chain, chain.merged, root)
    if findings or chain.merged is None:
        ordered = sorted(set(findings), key=lambda finding: (finding.place, str(finding)))
        raise ConfigError([str(finding) for finding in ordered])
    return chain, chain.merged


def _reaching(chain: Chain, merged: Node) -> list[Spot]:
    from aifo_tasks.config import chain as chains
    from aifo_tasks.config import check, trust

    last = chain.sources[-1]
    builtin = last.node if last.is_builtin else None
    return trust.reaching(merged, builtin or chains.builtin_node(), check.schema())


def _refuse_unapproved(chain: Chain, merged: Node, root: Path) -> None:
    from aifo_tasks.config import trust
    from aifo_tasks.config.tree import shown_keys

    reaching = [(spot, chain.sources[spot.node.place.depth]) for spot in _reaching(chain, merged)]
    if reaching:
        trust.refuse_approvals_below(root)
    refused = [
        spot for spot, source in reaching
        if not source.is_builtin and not trust.is_approved(source.path, source.digest)
    ]  # fmt: skip
    if refused:
        keys = ", ".join(
            f"{shown_keys(spot.keys)} ({spot.node.place})" if index else shown_keys(spot.keys)
            for index, spot in enumerate(refused)
        )
        raise UnapprovedError(
            str(refused[0].node.place), f"not approved to reach the host: {keys}", hint="doit trust"
        )
