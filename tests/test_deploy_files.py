"""The files that are shipped for a deployment: that they can be read, and name only what there is."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from clients.console import app as partner_app
from clients.console_ledger import app as ledger_app
from federation.console_bundle import app as bundle_app
from federation.deployment.keeper import running_state
from leelight import audit_app
from server.console_coordinator import coordinator_app
from server.console_release import app as release_app

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"
SIDES = ("coordinator", "partner")
METRICS = {
    "coordinator": {"leelight_study_round", "leelight_study_rounds", "leelight_stage_seconds",
                    "leelight_stage_answered", "leelight_partners_enrolled", "leelight_partners_online",
                    "leelight_certificate_days", "leelight_process_up"},
    "partner": {"leelight_epsilon_spent", "leelight_epsilon_remaining", "leelight_process_up",
                "leelight_gate_refusals_total"}}


def _no_plan(*_: Any, **__: Any) -> Any:
    raise NotImplementedError


APPS = {"partner": partner_app, "ledger": ledger_app, "bundle": bundle_app, "audit": audit_app(),
        "release": release_app, "coordinator": coordinator_app(_no_plan)}
COMMANDS: dict[str, click.Command] = {
    f"{group} {name}": command for group, app in APPS.items()
    for name, command in typer.main.get_command(app).commands.items()}  # type: ignore[attr-defined]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return found


def unit(side: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(DEPLOY / f"leelight-{side}.service", encoding="utf-8")
    return found


def check(words: list[str]) -> None:
    """Fail unless `words` begin with a command there is, and name options that it has."""
    command = COMMANDS[" ".join(words[:2])]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word for word in words[2:] if word.startswith("--")}
    assert used <= known, f"{words}: {used - known}"


@pytest.mark.parametrize("side", SIDES)
def test_a_unit_starts_a_command_that_there_is_and_keeps_it_in(side: str) -> None:
    service = unit(side)["Service"]
    program, *words = service["ExecStart"].split()
    assert Path(program).name == "leelight"
    check(words)
    assert words[:2] == [side, "start"]
    home = Path(words[words.index("--home") + 1])
    assert home.parent == Path("/var/lib") / service["StateDirectory"]
    for setting, value in (("Restart", "always"), ("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"),
                           ("PrivateTmp", "yes"), ("UMask", "0077"), ("ProtectHome", "yes"),
                           ("StateDirectoryMode", "0700")):
        assert service[setting] == value
    assert service["RestartSec"]
    assert service["MemoryMax"]


@pytest.mark.parametrize("side", SIDES)
def test_an_image_starts_a_command_that_there_is_from_files_that_there_are(side: str) -> None:
    text = (DEPLOY / f"Dockerfile.{side}").read_text(encoding="utf-8")
    entry = re.search(r'^ENTRYPOINT (\[.*\])$', text, re.MULTILINE)
    started = re.search(r'^CMD (\[.*\])$', text, re.MULTILINE)
    assert entry
    assert started
    assert yaml.safe_load(entry[1]) == ["leelight"]
    words = yaml.safe_load(started[1])
    assert words[:2] == [side, "start"]
    check(words)
    assert re.search(r"^USER leelight$", text, re.MULTILINE)
    assert text.index("USER leelight") > text.rindex("RUN ")


def test_an_image_holds_the_software_and_nothing_else() -> None:
    lines = (DEPLOY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    assert kept == {"pyproject.toml", "README.md", "leelight.py", "clients", "conf", "federation", "server",
                    "simulations"}


def test_the_services_of_compose_are_closed_in() -> None:
    found = compose()
    services = found["services"]
    assert set(services) == {"coordinator", "north", "coast", "desk"}
    assert found["networks"] == {"studies": {"internal": True}}
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "10001:10001"
        assert service["init"] is True
        assert service["mem_limit"]
        assert service["networks"] == ["studies"]
        assert "ports" not in service
        assert "environment" not in service
        assert [volume.partition(":")[0] for volume in service["volumes"]] == [name]
        assert name in found["volumes"]
        context = (DEPLOY / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]).is_file()


def test_the_health_check_of_compose_tells_a_stopped_home_and_one_with_a_process_down(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, program = compose()["services"]["north"]["healthcheck"]["test"]
    program = program.replace("/var/lib/leelight/home", str(tmp_path))

    def healthy() -> bool:
        with pytest.raises(SystemExit) as ended:
            exec(compile(program, "health", "exec"), {})  # noqa: S102  what is shipped is what runs
        return not ended.value.code

    assert running_state(tmp_path) is None
    assert not healthy()
    for processes, well in (([{"pid": 3}, {"pid": 4}], True), ([{"pid": 3}, {"pid": None}], False)):
        monkeypatch.setattr("federation.deployment.keeper.running_state",
                            lambda _, processes=processes: {"processes": processes})
        assert healthy() is well


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    found = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))
    for group in found["groups"]:
        for rule in group["rules"]:
            yield group["name"].removeprefix("leelight-"), rule


def test_alerts_watch_every_metric_of_their_side_and_no_other() -> None:
    watched: dict[str, set[str]] = {side: set() for side in SIDES}
    for side, rule in rules():
        watched[side] |= set(re.findall(r"leelight_\w+", rule["expr"]))
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "action"}
    assert watched == METRICS


def test_alerts_send_people_to_commands_that_there_are() -> None:
    for _, rule in rules():
        for words in re.findall(r"leelight ([a-z]+ [a-z-]+)", rule["annotations"]["action"]):
            assert words in COMMANDS
