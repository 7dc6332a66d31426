"""A session to work in: toolchains, their proxy, and a container that has none of them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from aifo_tasks import files, log
from aifo_tasks.session import agent, mounts, ready, served
from aifo_tasks.session.access import Access
from aifo_tasks.session.agent import Transport
from aifo_tasks.session.preview import print_call
from aifo_tasks.session.workplace import Choices, Workplace
from aifo_tasks.sidecar import ending, life, network, sessions
from aifo_tasks.sidecar.identity import project_session
from aifo_tasks.sidecar.plan import Plan, network_name
from aifo_tasks.toolexec import launcher, policy
from aifo_tasks.value import dataclass

if TYPE_CHECKING:
    from aifo_tasks.engine.api import Engine
    from aifo_tasks.session.serving import Serving
    from aifo_tasks.sidecar.record import Greeted


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is run in a session: a command, where, in which image ("" for a plain Debian), and
    how its calls reach the proxy."""

    command: Sequence[str]
    cwd: str
    image: str = ""
    transport: Transport = "unix"


def run(works: Sequence[Workplace], choices: Choices, wish: Wish) -> int:
    """Run a command in a session of its own, on this process's streams; its exit status.

    Everything the session started is gone afterwards; a toolchain that has no network of the
    session's own stays warm for whoever calls it next. Raises AifoError for what the user can
    mend.
    """
    joined = agent.network([work.toolchain.network for work in works], wish.transport)
    engine = ready.connect(consent=choices.consent)
    ending.reap(engine)
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(sessions.opened())
        works = [_own(work, session) for work in works]
        plan = agent.plan(
            works,
            session,
            image=agent.image(engine, works[0], choices, wish.image),
            network=joined,
            notify=served.notifies(works[0]),
        )
        token = secrets.token_hex(32)
        stack.callback(_end, engine, plan)
        serving = stack.enter_context(served.served(works, choices, session=session, token=token))
        stack.callback(_end, engine, plan)  # so that the proxy has nobody to wait for
        if wish.transport == "tcp":
            plan = _over_tcp(engine, plan, serving)
        for work in works:
            mounts.make_mount_points(work)
        greeted = life.ensure(engine, plan, {volume: volume for _, volume in plan.covers})
        _let_in(plan, token, serving, wish.transport)
        status = _call(plan, greeted, wish)
        if greeted is None:
            _print_end(engine, plan, works)
        return status


def _call(plan: Plan, greeted: Greeted | None, wish: Wish) -> int:
    """Run the command in the agent; its exit status."""
    own = set(plan.environment()) - {"LANG"}  # the only one that is a wish of the caller's
    variables = dict(policy.forwarded(os.environ, plan.toolchain.forward, own))
    if greeted is None:
        print_call(plan.name, wish.command, wish.cwd, variables)
        return 0
    call = launcher.Call(argv=wish.command, cwd=wish.cwd, environment=variables)
    return launcher.attach(greeted.connection, call)


def _own(work: Workplace, session: str) -> Workplace:
    """A toolchain in a network of the session's own has a sidecar of the session's own."""
    kind = work.toolchain.network
    if not agent.has_own_network(kind):
        return work
    name = network_name(kind, session, os.environ)
    return replace(work, plan=replace(work.plan, session=session, owned=True, network=name))


def _over_tcp(engine: Engine, plan: Plan, serving: Serving | None) -> Plan:
    """The plan of an agent that calls a port of the proxy's at its network's gateway."""
    if serving is None:  # who knows what they will be
        return agent.over_tcp(plan, "host-gateway", 0)
    network.ensure(engine, plan)
    gateway = network.gateway(engine, plan)
    port = serving.listen_tcp(gateway, early=network.comes_late(engine))
    return agent.over_tcp(plan, gateway, port)


def _let_in(plan: Plan, token: str, serving: Serving | None, transport: Transport) -> None:
    """Give the agent its token and, but for TCP, its socket."""
    way = Access(
        directory=files.run_dir() / plan.name / "proxies", token=token, owner=plan.owner
    )  # fmt: skip
    if not log.command(way.text) or serving is None:
        where = f" at {way.socket}" if transport == "unix" else ""
        log.step("proxy", f"doit itself takes the calls{where}")
        return
    way.lay_out()
    if transport == "unix":
        serving.listen_unix(way.socket)


def _print_end(engine: Engine, plan: Plan, works: Sequence[Workplace]) -> None:
    """What a dry run made nothing of, and so does not find at its end."""
    for each in (plan, *(work.plan for work in works if work.plan.owned)):
        engine.remove_container(each.name)
    if agent.has_own_network(plan.toolchain.network):
        engine.remove_network(plan.network)


def _end(engine: Engine, plan: Plan) -> None:
    """Remove what is the session's, as far as there is something; the project's stays."""
    ending.stop(engine, plan.session)
    ready.release(engine, project_session(plan.project))
