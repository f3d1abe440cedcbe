"""What a partner reads about its account: the commands over a real ledger with one study in it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clients.accounts import open_account
from clients.console_ledger import app, balance_text
from clients.ledger import Balance, LedgerRequest, Stage
from clients.node import NodeHome
from federation.privacy.accounting import epsilon_of
from federation.privacy.guarantee import round_event, statistics_events, training_event
from federation.privacy.units import up
from tests.worlds import POLICY, make_home, make_plan, partner_key

PLAN = make_plan()
DELTA = POLICY.ceilings.delta


def run(*arguments: str | Path, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return make_home(tmp_path, 0)


@pytest.fixture
def used(home: NodeHome) -> NodeHome:
    """A home whose account holds a study: round 1 answered at the second attempt, and a table asked and lost."""
    def lost() -> bytes:
        raise RuntimeError("the process died")

    with open_account(home, POLICY.ceilings) as ledger:
        for stage, work in ((Stage.TRAIN, lost), (Stage.TRAIN, lambda: b"model"), (Stage.TABLE, lost)):
            request = LedgerRequest.of(PLAN, stage, 1, "a" * 64)
            try:
                ledger.answer(request, ceilings=POLICY.ceilings, work=work)
            except RuntimeError:
                assert work is lost
    return home


def spent() -> float:
    """What that comes to, composed here."""
    return epsilon_of([training_event(PLAN), *statistics_events(PLAN), round_event(PLAN)], delta=DELTA)


def test_an_account_in_words(used: NodeHome) -> None:
    result = run("show", "--home", used.path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Account of partner-0 on 20")
    assert lines[1] == f"Spent on one person, ε at δ = {DELTA:g}:"
    assert f"{up(spent())} of {POLICY.ceilings.year:g}; at most " in lines[2]
    assert lines[3].startswith(f"  total  {up(spent())} of {POLICY.ceilings.total:g}; at most ")
    assert lines[5] == "Studies"
    assert lines[6].startswith(f"  {PLAN.study} ({PLAN.sha256[:16]}…), begun 20")
    assert lines[6].endswith(f"{up(spent())} of {POLICY.ceilings.study:g}; 1 requests answered, 1 without a reply, 1 "
                             "paid for again")


def test_what_remains_is_never_rounded_up(used: NodeHome) -> None:
    with open_account(used, POLICY.ceilings) as ledger:
        balance: Balance = ledger.balance(POLICY.ceilings)
    text = balance_text(balance)
    for period in (*balance.years, balance.total):
        shown = float(text.split(f"  {period.period:<6} ")[1].split("at most ")[1].split(" remain")[0])
        assert period.remaining - 0.001 < shown <= period.remaining


def test_an_account_for_machines(used: NodeHome) -> None:
    told = json.loads(run("show", "--home", used.path, "--json").stdout)
    assert told["total"]["epsilon"] == pytest.approx(spent(), rel=1e-9)
    assert told["at"].endswith("+00:00")
    assert [charge["kind"] for charge in told["charges"]] == ["plan", "further attempt"]


def test_a_check_in_words_and_for_machines(used: NodeHome) -> None:
    result = run("verify", "--home", used.path)
    assert result.exit_code == 0
    # Opened, held, reserved twice, committed, and the table reserved.
    for part in ("Everything fits: 6 entries of partner-0", partner_key(0).public, f"ε = {up(spent())} at δ",
                 "1 requests were answered; 1 have no reply and count as spent"):
        assert part in result.stdout
    # The filter's figure is larger and means nothing to most; it is for machines.
    assert "filter" not in result.stdout
    told = json.loads(run("verify", "--home", used.path, "--json").stdout)
    assert (told["entries"], told["commits"], told["replies_checked"]) == (6, 1, 1)


def test_books_that_do_not_fit_are_told_with_their_own_exit_code(used: NodeHome) -> None:
    with sqlite3.connect(used.path / "ledger.sqlite") as connection:
        connection.execute("UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), '\"attempt\":1', "
                           "'\"attempt\":2') AS BLOB) WHERE seq = 3")
    for command in (["show"], ["verify"]):
        result = run(*command, "--home", used.path)
        assert result.exit_code == 3
        assert "entry 3" in result.stderr
        assert not result.stdout


def test_an_export_is_written_once_and_checked_without_the_home(used: NodeHome, tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    result = run("export", file, "--home", used.path)
    assert result.exit_code == 0
    assert f"--public-key {partner_key(0).public}" in result.stdout
    assert b"model" not in file.read_bytes().replace(b"model_", b"")
    again = run("export", file, "--home", used.path)
    assert again.exit_code == 2
    assert str(file) in again.stderr

    def verify(path: Path, key: str = partner_key(0).public) -> Result:
        return run("verify", "--export", path, "--public-key", key)

    checked = verify(file)
    assert checked.exit_code == 0
    assert f"ε = {up(spent())} at δ" in checked.stdout
    assert verify(file, f" {partner_key(0).public.upper()} ").exit_code == 0
    changed = tmp_path / "changed.jsonl"
    changed.write_bytes(file.read_bytes().replace(b'"attempt":1', b'"attempt":2', 1))
    assert verify(changed).exit_code == 3
    # Whoever checks an export has the file and a key, and is told about those.
    other = verify(file, partner_key(1).public)
    lines = file.read_bytes().splitlines(keepends=True)
    headless, forged = (tmp_path / name for name in ("headless.jsonl", "forged.jsonl"))
    headless.write_bytes(b"".join(lines[:-2] + lines[-1:]))
    signature = json.loads(lines[-1])["head"]["signature"].encode()
    forged.write_bytes(b"".join(lines[:-1]) + lines[-1].replace(signature, b"0" * 128))
    for result, named in ((other, file), (verify(headless), headless), (verify(forged), forged)):
        assert result.exit_code == 3
        assert str(named) in result.stderr
        assert "ask the partner for the export again" in result.stderr
        assert "sqlite" not in result.stderr
        assert "head file" not in result.stderr
    assert "another key than the one given" in other.stderr
    assert f"{forged}, line {len(lines)}: was changed, or is signed by another key" in verify(forged).stderr


@pytest.mark.parametrize("key", ["abc", "", "g" * 64, "a" * 63])
def test_a_key_that_is_none_is_said_to_be_none(used: NodeHome, tmp_path: Path, key: str) -> None:
    run("export", tmp_path / "out", "--home", used.path)
    result = run("verify", "--export", tmp_path / "out", "--public-key", key)
    assert result.exit_code == 2
    assert "public key" in result.stderr
    assert "64 hexadecimal digits" in result.stderr


def test_a_file_that_is_not_there_is_said_not_to_be(used: NodeHome, tmp_path: Path) -> None:
    result = run("verify", "--export", tmp_path / "none", "--public-key", "a" * 64)
    assert result.exit_code == 2
    assert "none: cannot be read" in result.stderr
    result = run("export", tmp_path / "nowhere" / "out", "--home", used.path)
    assert result.exit_code == 2
    assert f"the folder {tmp_path / 'nowhere'} is not there" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_lost_head_is_written_anew_by_whoever_vouches_for_the_ledger(used: NodeHome) -> None:
    head = used.path / "ledger.head"
    head.unlink()
    assert f"leelight ledger restore-head --home {used.path}" in run("show", "--home", used.path).stderr
    for typed, said in ((None, "Nobody answered"), ("", "Nobody answered"), ("no\n", "not yes"), ("\n", "not yes")):
        result = run("restore-head", "--home", used.path, typed=typed)
        assert result.exit_code == 1
        assert said in result.stderr
        assert "othing was written" in result.stderr
        assert not head.exists()
    result = run("restore-head", "--home", used.path, typed="yes\n")
    assert result.exit_code == 0, result.output
    assert "for the 6 entries up to" in result.stdout
    assert run("verify", "--home", used.path).exit_code == 0
    again = run("restore-head", "--home", used.path, "--yes")
    assert again.exit_code == 3
    assert "nothing is to be restored" in again.stderr


def test_a_head_elsewhere_is_written_anew_there(used: NodeHome, tmp_path: Path) -> None:
    there = tmp_path / "elsewhere.head"
    settings = used.path / "node.yaml"
    settings.write_text(settings.read_text() + f"ledger_head: {there}\n")
    assert f"mv {used.path}/ledger.head {there}" in run("show", "--home", used.path).stderr
    assert run("restore-head", "--home", used.path, "--yes").exit_code == 3
    (used.path / "ledger.head").unlink()
    assert run("restore-head", "--home", used.path, "--yes").exit_code == 0
    assert there.exists()
    assert not (used.path / "ledger.head").exists()


@pytest.mark.parametrize("arguments", [[], ["--export", "x"], ["--public-key", "ab"],
                                       ["--home", "x", "--export", "y", "--public-key", "ab"]])
def test_it_must_be_said_what_is_checked(arguments: list[str]) -> None:
    result = run("verify", *arguments)
    assert result.exit_code == 2
    assert "--home, or --export with --public-key" in result.stderr


def test_before_the_first_study_there_is_no_account(home: NodeHome, tmp_path: Path) -> None:
    for command in (["show"], ["verify"], ["export", tmp_path / "out"], ["restore-head", "--yes"]):
        result = run(*command, "--home", home.path)
        assert result.exit_code == 2
        assert "no account yet" in result.stderr
    assert not (tmp_path / "out").exists()
    # Looking does not start one.
    assert not (home.path / "ledger.sqlite").exists()


def test_without_a_home_or_rules_nothing_is_shown(used: NodeHome) -> None:
    assert run("show", "--home", used.path / "nowhere").exit_code == 2
    (used.path / "policy.yaml").unlink()
    assert run("show", "--home", used.path).exit_code == 2
