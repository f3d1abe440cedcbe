"""What a partner reads about its account. The ledger itself is tested elsewhere; here it is a stand-in."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clients import console_ledger
from clients.console_ledger import app
from clients.node import NodeHome
from clients.policy import Ceilings
from federation.errors import Refusal, RefusalCode
from tests.worlds import POLICY, make_home, partner_key

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Period:
    period: str
    epsilon: float
    allowed: float
    remaining: float
    filter_share: float


@dataclass(frozen=True, kw_only=True)
class Study:
    study: str
    plan_sha256: str
    held_at: datetime
    epsilon: float
    allowed: float
    remaining: float
    requests_answered: int
    requests_open: int
    further_attempts: int


@dataclass(frozen=True, kw_only=True)
class Balance:
    at: datetime
    partner: str
    delta: float
    studies: tuple[Study, ...]
    years: tuple[Period, ...]
    total: Period


@dataclass(frozen=True, kw_only=True)
class Audit:
    partner: str
    public_key: str
    entries: int
    commits: int
    open_reservations: int
    first: datetime
    last: datetime
    delta: float
    epsilon: float
    renyi_epsilon: float


AUDIT = Audit(partner="partner-0", public_key="ab" * 32, entries=7, commits=3, open_reservations=0, first=NOW, last=NOW,
              delta=1e-5, epsilon=2.3456, renyi_epsilon=2.5)


class StandIn:
    def __init__(self, problem: Refusal | None = None) -> None:
        self.problem = problem
        self.asked: list[Ceilings] = []

    def balance(self, ceilings: Ceilings, now: datetime | None = None) -> Balance:
        self.asked.append(ceilings)
        study = Study(study="winter", plan_sha256="c" * 64, held_at=NOW, epsilon=2.3456, allowed=ceilings.study,
                      remaining=1.0, requests_answered=3, requests_open=1, further_attempts=2)
        year = Period(period="2026", epsilon=2.3456, allowed=ceilings.year, remaining=1.9999, filter_share=0.5)
        total = Period(period="total", epsilon=2.3456, allowed=ceilings.total, remaining=5.4321, filter_share=0.25)
        return Balance(at=NOW, partner="partner-0", delta=ceilings.delta, studies=(study,), years=(year,), total=total)

    def verify_full(self) -> Audit:
        if self.problem is not None:
            raise self.problem
        return AUDIT

    def export(self, path: Path) -> None:
        with path.open("xb") as file:
            file.write(b"entries\n")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return make_home(tmp_path, 0)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()

    def opened(home: NodeHome) -> AbstractContextManager[StandIn]:
        assert home.settings.name == "partner-0"
        return nullcontext(stand_in)

    monkeypatch.setattr(console_ledger, "_account", opened)
    return stand_in


def test_an_account_in_words(home: NodeHome, account: StandIn) -> None:
    result = run("show", "--home", home.path)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "Account of partner-0 on 2026-06-30\n"
        "Spent on one person, ε at δ = 1e-05:\n"
        "  2026   2.346 of 100; at most 1.999 remain\n"
        "  total  2.346 of 200; at most 5.432 remain\n"
        "\n"
        "Studies\n"
        "  winter (cccccccccccccccc…), begun 2026-06-30: 2.346 of 50; 3 requests answered, 1 without a reply, 2 paid "
        "for again\n")
    assert account.asked == [POLICY.ceilings]


def test_an_account_for_machines(home: NodeHome, account: StandIn) -> None:
    told = json.loads(run("show", "--home", home.path, "--json").stdout)
    assert told["total"]["epsilon"] == 2.3456
    assert told["at"] == "2026-06-30T12:00:00+00:00"


def test_a_check_in_words_and_for_machines(home: NodeHome, account: StandIn) -> None:
    result = run("verify", "--home", home.path)
    assert result.exit_code == 0
    for part in ("Everything fits: 7 entries of partner-0", "ab" * 32, "ε = 2.346 at δ = 1e-05"):
        assert part in result.stdout
    assert json.loads(run("verify", "--home", home.path, "--json").stdout)["entries"] == 7


def test_books_that_do_not_fit_are_told_with_their_own_exit_code(home: NodeHome, account: StandIn) -> None:
    account.problem = Refusal(RefusalCode.FAILED, "entry 4: does not follow from the entry before it")
    result = run("verify", "--home", home.path)
    assert result.exit_code == 3
    assert "entry 4" in result.stderr
    assert not result.stdout


def test_an_export_is_written_once_and_says_how_it_is_checked(home: NodeHome, account: StandIn, tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    result = run("export", file, "--home", home.path)
    assert result.exit_code == 0
    assert file.read_bytes() == b"entries\n"
    assert f"--public-key {partner_key(0).public}" in result.stdout
    again = run("export", file, "--home", home.path)
    assert again.exit_code == 2
    assert str(file) in again.stderr


def test_an_export_is_checked_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, str]] = []

    def checked(path: Path, public_key: str) -> Any:
        seen.append((path, public_key))
        return AUDIT

    monkeypatch.setattr("clients.ledger.verify_export", checked)
    assert run("verify", "--export", tmp_path / "ledger.jsonl", "--public-key", "ab" * 32).exit_code == 0
    assert seen == [(tmp_path / "ledger.jsonl", "ab" * 32)]


@pytest.mark.parametrize("arguments", [[], ["--export", "x"], ["--public-key", "ab"],
                                       ["--home", "x", "--export", "y", "--public-key", "ab"]])
def test_it_must_be_said_what_is_checked(arguments: list[str]) -> None:
    result = run("verify", *arguments)
    assert result.exit_code == 2
    assert "--home, or --export with --public-key" in result.stderr


def test_before_the_first_study_there_is_no_account(home: NodeHome, tmp_path: Path) -> None:
    for command in (["show"], ["verify"], ["export", tmp_path / "out"]):
        result = run(*command, "--home", home.path)
        assert result.exit_code == 2
        assert "no account yet" in result.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_home_or_rules_nothing_is_shown(home: NodeHome, account: StandIn) -> None:
    assert run("show", "--home", home.path / "nowhere").exit_code == 2
    (home.path / "policy.yaml").unlink()
    assert run("show", "--home", home.path).exit_code == 2
