"""What `leelight coordinator watch` shows: who is there, what runs, and how the study at hand goes."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from federation.deployment.certificates import days_left
from federation.deployment.keeper import running_state
from federation.errors import InputError
from server.coordinator import CoordinatorHome
from server.deployment.control import Control
from server.deployment.enrolled import Enrolled
from server.deployment.network import Network
from server.run_state import RunState

_SECONDS = 2.0
_HAS_IT_APPROVED = ": does its node run, and has it approved the plan?"


def look(home: CoordinatorHome) -> dict[str, Any]:
    """Everything that a view shows, as plain values.

    Raises:
        InputError: if the home cannot be read.
    """
    network = Network(home)
    settings, state = network.settings(), running_state(home.path)
    found: dict[str, Any] = {
        "coordinator": settings.name, "address": settings.address, "running": state is not None,
        "certificate_days": int(days_left(network.certificate)), "processes": state["processes"] if state else [],
        "partners": [], "study": _study(home)}
    online = _online(network, state)
    for one in Enrolled(home).partners():
        node = "unknown" if online is None else "online" if one.node_key in online else "offline"
        found["partners"].append({"name": one.entry.name, "kind": one.entry.kind.value, "node": node})
    return found


def _silent(name: str, study: dict[str, Any]) -> bool:
    """Whether a partner is awaited that has answered nothing of this study yet, as one does that has not approved it.

    Its node does not say so: what it has not approved, it does not answer.
    """
    return study["partners"].get(name) == "awaited" and not any(
        name in (*one["answered"], *(who for who, _ in one["refused"])) for one in study["stages"])


def _online(network: Network, state: dict[str, Any] | None) -> set[str] | None:
    """Keys of the nodes that are connected; None if nobody can tell."""
    if state is None or not state.get("ready"):
        return None
    control = Control(port=state["superlink"], authority=network.authority)
    try:
        return {node.node_key for node in control.nodes() if node.online}
    except InputError:
        return None
    finally:
        control.close()


def _study(home: CoordinatorHome) -> dict[str, Any] | None:
    try:
        signed = home.signed_plan()
    except InputError:
        return None
    state = home.run_state(signed.sha256)
    names = [entry.name for entry in signed.plan.roster]
    return {"study": signed.plan.study, "plan_sha256": signed.sha256, "has_run": state.finished,
            "running": state.running, "rounds": signed.plan.training.rounds, "rounds_done": state.rounds_done,
            "stage": state.stage, "exchange": state.exchange,
            "since": None if state.since is None else state.since.isoformat(timespec="seconds"),
            "partners": {name: _stands(name, state) for name in names},
            "stages": [asdict(report) for report in state.stages]}


def _stands(name: str, state: RunState) -> str:
    """How a partner stands in the stage at hand."""
    if not state.stage:
        return ""
    refused = dict(state.refused)
    return "has answered" if name in state.answered else f"declined: {refused[name]}" if name in refused else "awaited"


def view(found: dict[str, Any]) -> RenderableType:
    """The same for a terminal."""
    partners = Table("Partner", "Kind", "Node", "In this stage", box=None)
    study = found["study"]
    stands = {} if study is None else {
        name: said + _HAS_IT_APPROVED if _silent(name, study) else said for name, said in study["partners"].items()}
    for one in found["partners"]:
        partners.add_row(one["name"], one["kind"], one["node"], stands.get(one["name"], "not in the plan"))
    processes = Table("Process", "Process id", "Started", box=None)
    for one in found["processes"]:
        processes.add_row(one["name"], str(one["pid"] or "not running"), f"{one['starts']} times")
    said = "No plan is signed." if study is None else (
        f"Study {study['study']}, plan {study['plan_sha256'][:16]}…: {_progress(study)}")
    head = (f"{found['coordinator']} at {found['address']}: " + ("running" if found["running"] else "not running")
            + f"; certificate holds {found['certificate_days']} days")
    return Group(Text(head), Text(said), partners, processes)


def _progress(study: dict[str, Any]) -> str:
    if study["has_run"]:
        return "has run"
    done = f"{study['rounds_done']} of {study['rounds']} rounds done"
    if study["running"] and study["since"] is None:
        return f"{done}; it is being taken up"
    if study["running"]:
        exchange = f" ({study['exchange']})" if study["exchange"] else ""
        return f"{done}; {study['stage']}{exchange} since {study['since']}"
    return f"{done}; nothing runs, or was begun less than a minute ago" + (
        ". `leelight coordinator resume` goes on" if study["stages"] else "")


def watch_live(home: CoordinatorHome) -> None:
    """Show it until somebody stops looking."""
    with Live(view(look(home)), refresh_per_second=4) as live:
        try:
            while True:
                time.sleep(_SECONDS)
                live.update(view(look(home)))
        except KeyboardInterrupt:
            return
