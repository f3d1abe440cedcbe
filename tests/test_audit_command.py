"""`leelight audit journal`: what an auditor reads about a journal, with its file alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from federation.journal import Head, Side, head_path
from leelight import audit_app
from tests.federation.journals import COORDINATORS, KEY, PARTNERS, STRANGER, as_file, history, open_journal

ROOT = Path(__file__).parents[1]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(audit_app(), ["journal", *(str(argument) for argument in arguments)])


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    found = open_journal(tmp_path / "journal.jsonl")
    for facts in PARTNERS:
        found.append(facts)
    return found.path


def test_a_sound_journal_in_words(journal: Path) -> None:
    result = run(journal, "--key", KEY.public)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "All that can be checked holds: 9 entries of ngo-shelter (partner), 2026-03-01 to 2026-03-01.",
        "  opened 1, plan_declined 1, plan_approved 1, answered 3, refused 1, erased 1, left 1",
        f"Signed by {KEY.public}, the key that was given.",
        "The end is anchored: the head names entry 8, the last."]


def test_what_could_not_be_checked_is_said(journal: Path) -> None:
    head_path(journal).unlink()
    result = run(journal)
    assert result.exit_code == 0
    assert "the key that the journal names itself. Hold it against" in result.stdout
    assert "The end is not anchored: entries after 8 could have been cut off" in result.stdout


def test_a_head_from_elsewhere_is_used_instead(journal: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "kept" / "old.head"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(Head.of(history()[3].anchor, KEY).to_json())
    older = run(journal, "--head", elsewhere)
    assert older.exit_code == 0
    assert "The head names entry 3; entries after 8 could have been cut off." in older.stdout
    elsewhere.write_bytes(Head.of(history(PARTNERS[::-1])[3].anchor, KEY).to_json())
    rewritten = run(journal, "--head", elsewhere)
    assert rewritten.exit_code == 1
    assert f"{journal}, line 4: is not the entry that the head names" in rewritten.stdout


def test_what_is_wrong_is_named_with_file_and_line(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    cases = {
        "line 4: was edited, or is signed by another key": [*lines[:3], lines[3].replace(b"train", b"table"),
                                                            *lines[4:]],
        "line 3: holds entry 3 where 2 belongs: 1 missing before it": [*lines[:2], *lines[3:]],
        "line 9: is not there, and the journal went on at least to entry 8": lines[:-1],
        "line 3: repeats line 2": [*lines[:2], lines[1], *lines[2:]]}
    for words, changed in cases.items():
        journal.write_bytes(b"".join(changed))
        result = run(journal, "--key", KEY.public)
        assert result.exit_code == 1
        assert f"{journal}, {words}" in result.stdout.splitlines()[0]
        assert "What to do: " in result.stdout
        assert "All that can be checked holds" not in result.stdout
        assert "The lines before it fit: " in result.stdout


def test_another_key_than_the_one_given_is_named(journal: Path) -> None:
    result = run(journal, "--key", STRANGER.public)
    assert result.exit_code == 1
    assert "line 1: opens a journal of another key than the one given" in result.stdout
    assert "fit" not in result.stdout
    assert run(journal, "--key", f" {KEY.public.upper()} ").exit_code == 0


def test_for_machines(journal: Path, tmp_path: Path) -> None:
    told = json.loads(run(journal, "--key", KEY.public, "--json").stdout)
    end = history()[-1]
    assert told == {
        "file": str(journal), "sound": True, "entries": 9, "owner": "ngo-shelter", "side": "partner",
        "public_key": KEY.public, "key_was_given": True, "anchored": 8, "first": told["first"], "last": told["last"],
        "acts": {"opened": 1, "plan_declined": 1, "plan_approved": 1, "answered": 3, "refused": 1,
                 "erased": 1, "left": 1},
        "end": told["end"], "problem": None}
    assert told["end"]["sequence"] == end.sequence
    journal.write_bytes(journal.read_bytes()[:-1])
    result = run(journal, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["sound"], told["entries"], told["anchored"]) == (False, 8, None)
    assert (told["problem"]["line"], told["problem"]["fault"]) == (9, "incomplete")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    result = run(tmp_path / "empty.jsonl", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["owner"], told["end"], told["problem"]["fault"]) == (None, None, "empty")


def test_a_coordinators_journal_is_checked_the_same(tmp_path: Path) -> None:
    path = tmp_path / "copied.jsonl"
    path.write_bytes(as_file(history(COORDINATORS, owner="coordinator", side=Side.COORDINATOR)))
    result = run(path)
    assert result.exit_code == 0
    assert "10 entries of coordinator (coordinator)" in result.stdout
    assert "release_published 1" in result.stdout


@pytest.mark.parametrize("given", [["--key", "abc"], ["--key", ""], ["--key", "g" * 64], ["--head", "none.head"]])
def test_what_cannot_be_used_is_said(journal: Path, given: list[str]) -> None:
    result = run(journal, *given)
    assert result.exit_code == 2
    assert given[1] in result.stderr
    assert not result.stdout


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, journal: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        result = run(path)
        assert result.exit_code == 2
        assert f"{path}: cannot be read" in result.stderr
    head_path(journal).write_bytes(b"{}")
    result = run(journal)
    assert result.exit_code == 2
    assert f"{head_path(journal)}: cannot be read as the head of a journal" in result.stderr


def test_it_is_a_command_of_its_own_among_audits(journal: Path) -> None:
    def leelight(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", "from leelight import main; main()", *arguments], check=False,
                              capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT)

    assert "journal" in leelight("audit", "--help").stdout
    result = leelight("audit", "journal", str(journal))
    assert result.returncode == 0, result.stderr
    assert "9 entries of ngo-shelter" in result.stdout
