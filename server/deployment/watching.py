"""What `leelight coordinator watch` shows: who is there, what runs, and how the study at hand goes."""

from __future__ import annotations

import time
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
from server.deployment.running import CONTROL

_SECONDS = 2.0


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
    online = _online(home, network, state)
    for one in Enrolled(home).partners():
        found["partners"].append({"name": one.entry.name, "kind": one.entry.kind.value,
                                  "node": online.get(one.entry.name, "unknown")})
    return found


def _online(home: CoordinatorHome, network: Network, state: dict[str, Any] | None) -> dict[str, str]:
    if state is None or not state.get("ready"):
        return {}
    control = Control(home.path / CONTROL, port=state["superlink"], authority=network.authority)
    try:
        return {str(node["name"]): str(node["status"]) for node in control.nodes()
                if node["status"] != "unregistered"}
    except InputError:
        return {}


def _study(home: CoordinatorHome) -> dict[str, Any] | None:
    try:
        signed = home.signed_plan()
    except InputError:
        return None
    ran = home.study(signed.sha256).path.is_dir()
    return {"study": signed.plan.study, "plan_sha256": signed.sha256, "has_run": ran}


def view(found: dict[str, Any]) -> RenderableType:
    """The same for a terminal."""
    partners = Table("Partner", "Kind", "Node", box=None)
    for one in found["partners"]:
        partners.add_row(one["name"], one["kind"], one["node"])
    processes = Table("Process", "Process id", "Started", box=None)
    for one in found["processes"]:
        processes.add_row(one["name"], str(one["pid"] or "not running"), f"{one['starts']} times")
    study = found["study"]
    said = "No plan is signed." if study is None else (
        f"Study {study['study']}, plan {study['plan_sha256'][:16]}…: "
        + ("has run" if study["has_run"] else "not yet run"))
    head = (f"{found['coordinator']} at {found['address']}: " + ("running" if found["running"] else "not running")
            + f"; certificate holds {found['certificate_days']} days")
    return Group(Text(head), Text(said), partners, processes)


def watch_live(home: CoordinatorHome) -> None:
    """Show it until somebody stops looking."""
    with Live(view(look(home)), refresh_per_second=4) as live:
        try:
            while True:
                time.sleep(_SECONDS)
                live.update(view(look(home)))
        except KeyboardInterrupt:
            return
