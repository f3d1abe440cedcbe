"""What a partner types from an empty folder to a decision, and what it reads on the way."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from clients import console_home
from clients.accounts import open_account
from clients.approvals import Decision, approval_path, find_approval, require_approval
from clients.console import app
from clients.features import prepare
from clients.ledger import LedgerRequest, Stage
from clients.node import NodeHome
from clients.people import training_people
from clients.policy import Policy
from clients.review import Outlook
from federation.deployment import keeper
from federation.errors import Refusal
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import PrivacyClaim, RosterEntry
from federation.privacy.guarantee import price
from federation.privacy.units import up
from federation.records import RegionMention
from federation.taxonomy import LabelValue, PartnerKind, RegionRole, Task
from tests.worlds import COORDINATOR, DAY, POLICY, make_home, make_plan, make_records, make_statistics, sign

ROOT = Path(__file__).parents[2]
INIT = ["--name", "shelter-north", "--kind", "ngo", "--slots", "512", "--region", "RO-IS", "--region", "RO-VS",
        "--coordinator-key", COORDINATOR.public]


def run(*arguments: str | Path, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)


@pytest.fixture(scope="module")
def plan() -> StudyPlan:
    return make_plan()


@pytest.fixture
def plan_file(tmp_path: Path, plan: StudyPlan) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(sign(plan).to_json())
    return path


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return make_home(tmp_path, 0, records=make_records(40, people=25, seed=3))


def test_a_mistyped_command_is_guessed_once() -> None:
    assert run("igest").output.count("Did you mean") == 1


# init


def test_init_makes_a_home_that_opens_with_its_own_secrets_and_careful_rules(tmp_path: Path) -> None:
    made = [run("init", tmp_path / name, *INIT) for name in ("one", "two")]
    assert [result.exit_code for result in made] == [0, 0], made[0].output
    homes = [NodeHome.load(tmp_path / name) for name in ("one", "two")]
    assert homes[0].person_secret() != homes[1].person_secret()
    assert homes[0].signing_key().public in made[0].output
    assert homes[0].signing_key().public != homes[1].signing_key().public
    assert (homes[0].settings.name, homes[0].settings.slots, homes[0].settings.regions) == (
        "shelter-north", 512, ("RO-IS", "RO-VS"))
    assert not homes[0].settings.synthetic
    assert homes[0].settings.reproducible_noise is None
    assert homes[0].policy().rehearsal == "refuse"
    for name in ("person.secret", "identity.key", "policy.yaml", "node.yaml"):
        assert (tmp_path / "one" / name).stat().st_mode & 0o777 == 0o600
    words = [made[0].output.index(word) for word in (
        "published with every release", "public key", "policy.yaml", "Back up", "partner join", "partner know",
        "partner ingest", "partner start", "partner review")]
    assert words == sorted(words)


def test_init_prints_no_secret(tmp_path: Path) -> None:
    output = run("init", tmp_path / "one", *INIT).output + run("init", tmp_path / "two", *INIT, "--json").output
    for name in ("one", "two"):
        for secret in ("person.secret", "identity.key"):
            assert (tmp_path / name / secret).read_bytes().hex() not in output


def test_init_as_json_is_what_a_roster_needs(tmp_path: Path) -> None:
    result = run("init", tmp_path / "one", *INIT, "--prevalence", "distress=0.3", "--json")
    assert result.exit_code == 0
    entry = RosterEntry.model_validate_json(result.stdout)
    assert entry.declared_prevalence == {Task.DISTRESS: 0.3}
    assert NodeHome.load(tmp_path / "one").agrees_with(entry)


def test_init_never_overwrites(tmp_path: Path) -> None:
    assert run("init", tmp_path / "one", *INIT).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    again = run("init", tmp_path / "one", *INIT)
    assert again.exit_code == 2
    assert "already" in again.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == before
    (tmp_path / "file").write_text("mine")
    assert run("init", tmp_path / "file", *INIT).exit_code == 2
    assert run("init", tmp_path / "file" / "below", *INIT).exit_code == 2
    (tmp_path / "empty").mkdir()
    assert run("init", tmp_path / "empty", *INIT).exit_code == 0


@pytest.mark.parametrize("option", ["--name", "--kind", "--slots", "--region", "--coordinator-key"])
def test_init_names_what_is_missing_when_nobody_can_be_asked(tmp_path: Path, option: str) -> None:
    given = [(INIT[i], INIT[i + 1]) for i in range(0, len(INIT), 2) if INIT[i] != option]
    result = run("init", tmp_path / "one", *(word for pair in given for word in pair))
    assert result.exit_code == 2
    assert f"{option}: missing" in result.stderr
    assert not (tmp_path / "one").exists()


def test_init_asks_when_somebody_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_home, "somebody_there", lambda: True)
    answers = f"Shelter-North\nNGO\n4,096\nro-is, RO-VS\n{COORDINATOR.public.upper()}\nDistress = 0.3\n"
    result = run("init", tmp_path / "one", typed=answers)
    assert result.exit_code == 0, result.output
    settings = NodeHome.load(tmp_path / "one").settings
    assert (settings.name, settings.kind, settings.slots, settings.regions, settings.coordinator_key) == (
        "shelter-north", PartnerKind.NGO, 4096, ("RO-IS", "RO-VS"), COORDINATOR.public)
    assert settings.declared_prevalence == {Task.DISTRESS: 0.3}
    # What the review later holds a plan against is what the coordinator is to be told.
    told = " ".join(result.stdout.split("What to do now")[1].split("2. Look")[0].split())
    for part in ("name shelter-north", "kind ngo", "slots 4096", "RO-IS, RO-VS", "prevalence distress 0.3",
                 NodeHome.load(tmp_path / "one").signing_key().public):
        assert part in told


def test_init_asks_again_for_an_answer_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_home, "somebody_there", lambda: True)
    answers = ["Shelter North", "", "shelter-north", "charity", "ngo", "many", "1", "512", "", "Iasi", "XA-01", "RO-IS",
               "abc", COORDINATOR.public, "distress", "distress=2", "distress=0.1 distress=0.2", ""]
    result = run("init", tmp_path / "one", typed="\n".join(answers) + "\n")
    assert result.exit_code == 0, result.output
    told = [line for line in result.stderr.splitlines() if "What to do" in line]
    assert [line.split("What to do")[0].count("Allowed:") for line in told] == [1] * 12
    assert "--slots: 'many' cannot be used. Allowed: a whole number from 2" in result.stderr
    settings = NodeHome.load(tmp_path / "one").settings
    assert (settings.name, settings.regions, settings.declared_prevalence) == ("shelter-north", ("RO-IS",), {})
    assert "none declared" in result.stdout


def test_init_asks_nothing_for_a_place_that_is_taken_or_an_option_that_is_wrong(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_home, "somebody_there", lambda: True)
    (tmp_path / "file").write_text("mine")
    for result in (run("init", tmp_path / "file", typed=""), run("init", tmp_path / "one", "--kind", "x", typed="")):
        assert result.exit_code == 2
        assert "Your name" not in result.stderr
    assert run("init", tmp_path / "one", typed="shelter-north\n").exit_code == 1
    assert not (tmp_path / "one").exists()


def test_init_names_everything_that_is_missing_at_once(tmp_path: Path) -> None:
    result = run("init", tmp_path / "one")
    assert result.exit_code == 2
    assert "--name, --kind, --slots, --region, --coordinator-key: missing" in result.stderr
    assert "--prevalence" not in result.stderr


@pytest.mark.parametrize(("change", "word"), [
    (["--name", "Shelter North"], "--name"), (["--kind", "charity"], "--kind"), (["--slots", "1"], "--slots"),
    (["--region", "ZZ-99"], "region"), (["--region", "XA-01"], "synthetic"), (["--coordinator-key", "ab"], "--coord"),
    (["--prevalence", "distress"], "--prevalence"), (["--prevalence", "distress=nan"], "--prevalence"),
    (["--prevalence", "other=0.2"], "--prevalence"),
])
def test_init_refuses_what_cannot_be_used_and_leaves_nothing(tmp_path: Path, change: list[str], word: str) -> None:
    result = run("init", tmp_path / "one", *INIT, *change)
    assert result.exit_code == 2
    assert word in result.stderr
    assert not (tmp_path / "one").exists()


def test_init_takes_invented_regions_for_an_invented_world(tmp_path: Path) -> None:
    assert run("init", tmp_path / "one", *INIT, "--region", "XA-01", "--synthetic").exit_code == 0


# review

GOLDEN = """\
Study test (SYNTHETIC)
  Check that the parts fit together.
  This is a rehearsal: its noise can be repeated and protects nobody. It is only for invented or
    public records.

Who asks
  The coordinator whose key you pinned (coordinator_key in node.yaml), KEY…; the
    signature fits the plan.
  3 partners take part (1 platform, 1 NGO, 1 agency), you as partner-0. At least 3 must answer each
    time, or the study stops.
  By name: partner-0, partner-1, partner-2.
  Plan HASH

What will be computed
  Learning: a model that tells recruitment and distress from other texts, in 2 rounds of 2 steps,
    with at most 4 records of each person. Texts are turned into numbers on this machine by
    hashed-ngrams 1.
  Counting: how many people have a record in each of 3 regions as origin and observed, and how many
    of those the model flags for recruitment and distress; the same for 2 groups of regions and 1
    country. Each person counts in one region in one role, through records from 2026-04-01 to
    2026-06-30. It takes turn 2 of the 4 that a year may have, whether or not others came before it;
    a person may count in all of them.
  Counting, too: how often the model is right about people with a label who did not train it; which
    indicators were noted, of 3 that are listed, by country; from where to where records lead, for 4
    pairs of places; how many people each partner counts in each region and role, to see where one
    partner makes up most of them.
  Publishing: rates by region with their uncertainty, no earlier than 30 days after the period.
    Numbers that are meant to stand for fewer than 11 people are withheld. 2 of 3 named people must
    sign first.

On whom (these numbers are exact, for your eyes, and stay here)
  20 people here. 16 train the model, with 31 records.
  2 people do not train: held out to measure the model (about 20% of people, chosen by lot; they are
    never trained on).
  2 people do not train: none of their records is labelled positive or negative for recruitment or
    distress.
  20 people count in the tables.

What it costs each of these people
  Learning ε = 1.555, counting ε = 3.047, together ε = 3.540, each at δ = 1e-05. Lower is safer.
  That means: somebody who sees everything that leaves here, knows everybody else in your records,
    and guesses whether one person is in them, being wrong about 1 in 100 people who are not, is
    right about at most 35 in 100 who are.
  For a person with records at several of the partners: 2 partners ε = 5.287, 3 partners ε = 6.718,
    5 partners ε = 9.143.

What remains in the account
  No account is open yet: it opens when the first study begins. Your ceilings: ε = 50 a study, 100 a
    year, 200 ever, at δ = 1e-05.

What leaves this house
  2 model updates, one in each round, of 130 numbers. All the noise is added on this machine before
    an update leaves.
  The coordinator takes the mean of the partners' updates, weighted by slots; nothing bounds what
    one of them does to the model.
  One list of 106 numbers in 7 tables (people, and people flagged, by region and role: 18; the same
    by group of regions: 12; the same by country: 6; where the model is right and wrong: 8;
    indicators among people flagged and not: 32; people by pair of places: 12; people by region,
    role and partner: 18). One person here moves at most 23 of them, each by 1. All the noise is
    added on this machine before the list leaves.
  The table by region, role and partner has a column for each partner: from yours the coordinator
    learns, with noise, how many of your people count in each region and role. It decides by it what
    is withheld, and does not publish it.
  Your partner's name and, where this node declines, one of a few fixed words.

What never leaves
  Records, texts, person ids and their pseudonyms, labels, and which records or people the model
    flags.
  The exact number of your records or people: learning uses your public number of slots instead (the
    round number in node.yaml that your people fit into), and every count in the tables carries
    noise.

Not covered
  People who are only mentioned in somebody else's records; what you publish yourself; the time that
    this node takes to answer.
  And as this is a rehearsal, nobody at all.

Your rules
  kept    plans: this plan (allowed: any plan that you approve)
  kept    tasks: recruitment, distress (allowed: recruitment, distress)
  kept    encoders: hashed-ngrams (allowed: hashed-ngrams)
  kept    statistics: regional_table, indicators, corridors (allowed: regional_table, indicators,
    corridors, series, scores)
  kept    minimum_partners: 3 (allowed: at least 1); partners that must answer
  kept    least_noise_multiplier: 5 (allowed: at least 1); noise of a training step, in clip norms
  kept    least_l2_clip_norm: 0.5 (allowed: at least 0.1); clip norm: the most that one person can
    move a training step
  kept    least_table_noise_scale: 6 (allowed: at least 1); noise in each number of the table that
    has least, in people
  kept    distributed_noise: none (allowed: statistics, training); parts whose noise is in the sum
    of all partners alone
  kept    ceilings.delta: δ = 1e-05 (allowed: at most 1e-05)
  kept    ceilings.round: ε = 3.047 for the request that costs most (at δ = 1e-05) (allowed: at most
    20)
  kept    ceilings.study: ε = 3.540 for the study (at δ = 1e-05) (allowed: at most 50)
  kept    ceilings.year: ε = 3.540 for the study alone (at δ = 1e-05) (allowed: at most 100)
  kept    ceilings.total: ε = 3.540 for the study alone (at δ = 1e-05) (allowed: at most 200)
  kept    rehearsal: a rehearsal, which protects nobody (allowed: real studies and rehearsals)

How to decide
  Nothing runs here until you approve. To approve:
    leelight partner approve PLAN --home HOME
  To decline, for now or for good:
    leelight partner decline PLAN --home HOME
"""


def _blanked(text: str, plan: StudyPlan, plan_file: Path, home: NodeHome) -> str:
    for found, name in ((str(plan_file), "PLAN"), (str(home.path), "HOME"), (plan.sha256, "HASH"),
                        (COORDINATOR.public[:16], "KEY")):
        text = text.replace(found, name)
    return text


def test_a_review_in_full(home: NodeHome, plan: StudyPlan, plan_file: Path) -> None:
    result = run("review", plan_file, "--home", home.path)
    assert result.exit_code == 0, result.output
    assert _blanked(result.stdout, plan, plan_file, home) == GOLDEN


def test_a_review_of_secure_sums_says_whom_to_ask_for_what(tmp_path: Path) -> None:
    plan = make_plan(4, secure="both", colluders=1, quorum=3, noise_scale=6.0)
    home = make_home(tmp_path / "my homes", 0, records=make_records(40, people=25, seed=3))
    (home.path / "partners.yaml").write_text(f"partner-1: {plan.roster[1].public_key}\n")
    (home.path / "partners.yaml").chmod(0o600)
    (tmp_path / "plan.json").write_text(sign(plan).to_json())
    result = run("review", tmp_path / "plan.json", "--home", home.path)
    assert result.exit_code == 3
    told = " ".join(result.stdout.split())
    assert ("noise in the sum protects them as long as at most 1 of the 4 partners works with the coordinator "
            "(partners that it controls count as such), and protects a person with records at several partners less; "
            "in return the results are sharper. At least 3 partners are in every sum." in told)
    assert "the list leaves under a mask: the coordinator learns the sum over the partners, and not yours." in told
    assert ("has a column for each partner: from yours the coordinator learns, whatever the mask, with noise, how many "
            "of your people count in each region and role. It decides by it what is withheld, and does not publish it."
            in told)
    assert "These figures hold while at most 1 of the 4 partners works with the coordinator" in told
    assert "yours alone" not in told
    found = json.loads(run("review", tmp_path / "plan.json", "--home", home.path, "--json").stdout)
    assert found["keys_not_confirmed"] == {entry.name: entry.public_key for entry in plan.roster[2:]}
    assert run("approve", tmp_path / "plan.json", "--home", home.path, "--yes").exit_code == 3
    # The commands are there to be copied, but for the key: copied from the plan it would have confirmed nothing.
    commands = [line.split(maxsplit=2)[2] for line in result.stdout.splitlines() if "partner know" in line]
    assert len(commands) == 2
    assert all(f"{entry.name}: the plan's key is {entry.public_key}" in told for entry in plan.roster[2:])
    for command, entry in zip(commands, plan.roster[2:], strict=True):
        assert run(*shlex.split(command)).exit_code == 2
        assert run(*shlex.split(command.replace("KEY", entry.public_key.upper()))).exit_code == 0
    assert run("approve", tmp_path / "plan.json", "--home", home.path, "--yes").exit_code == 0
    known, own = plan.roster[2].public_key, plan.roster[0]
    for arguments in (("partner-2", "0" * 64), ("partner-9", "0" * 63), ("P 9", "0" * 64), ("partner-9", known),
                      (own.name, "0" * 64), ("partner-9", own.public_key)):
        assert run("know", *arguments, "--home", home.path).exit_code == 2
    # A key that is not the one that was confirmed is another matter than one that is new.
    impostor = plan.roster[3].model_copy(update={"public_key": "ab" * 32})
    forged = plan.model_copy(update={"roster": (*plan.roster[:3], impostor)})
    (tmp_path / "forged.json").write_text(sign(forged).to_json())
    told = " ".join(run("review", tmp_path / "forged.json", "--home", home.path).stdout.split())
    assert f"the plan gives another key for partner-3 than the one you confirmed: {'ab' * 32}, not" in told
    assert "partner know" not in told


@pytest.mark.parametrize("refused", [True, False])
def test_who_approves_late_is_told_to_start_the_node_again(home: NodeHome, plan_file: Path, refused: bool,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"pid": 1, "refused": {"at": "now", "words": "not approved"} if refused else None}
    monkeypatch.setattr(keeper, "running_state", lambda _: state)
    said = run("approve", plan_file, "--home", home.path, "--yes").output
    assert "is approved" in said
    assert ("stop the node and start it again" in said) is refused


def test_the_numbers_are_the_ones_that_the_node_works_with(home: NodeHome, plan: StudyPlan, plan_file: Path) -> None:
    own = json.loads(run("review", plan_file, "--home", home.path, "--json").stdout)["own_records"]
    people = training_people(home, plan, plan.roster[0], prepare(home, plan))
    assert own["training_people"] == len(people)
    assert own["counted_people"] == len({record.actor_key for record in make_records(40, people=25, seed=3)})
    assert own["training_records"] == sum(len(group) * group.inputs.shape[1] for group in people.groups)


def test_a_review_needs_no_torch(home: NodeHome, plan_file: Path) -> None:
    script = ("import sys; from clients.console import app\n"
              "try: app(sys.argv[1:])\n"
              "except SystemExit as end: code = end.code\n"
              "assert 'torch' not in sys.modules; sys.exit(code)")
    done = subprocess.run([sys.executable, "-c", script, "review", str(plan_file), "--home", str(home.path)],
                          capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Study test (SYNTHETIC)")


def test_a_review_reads_no_text_out(home: NodeHome, plan_file: Path) -> None:
    texts = {record.text for record in make_records(40, people=25, seed=3)}
    output = run("review", plan_file, "--home", home.path).output
    output += run("review", plan_file, "--home", home.path, "--json").output
    assert not any(text in output for text in texts)


@pytest.mark.parametrize(("rule", "sentence"), [
    ("refuse", "10 records have no person id and your rules leave such out"),
    ("own_unit", "10 records have no person id and your rules take each as a person of its own"),
])
def test_a_review_tells_of_records_without_a_person(tmp_path: Path, plan_file: Path, rule: str, sentence: str) -> None:
    records = make_records(40, seed=3)
    records = [r.model_copy(update={"actor_key": None}) if i < 10 else r for i, r in enumerate(records)]
    home = make_home(tmp_path, 0, records=records, policy=POLICY.model_copy(update={"records_without_person_id": rule}))
    output = " ".join(run("review", plan_file, "--home", home.path).stdout.split())
    assert sentence in output
    assert f"{30 if rule == 'refuse' else 40} people count in the tables" in output


def test_everybody_who_drops_out_is_given_a_reason(tmp_path: Path, plan_file: Path, plan: StudyPlan) -> None:
    records = make_records(40, people=25, seed=3)
    elsewhere = (RegionMention(code="XA-09", role=RegionRole.ORIGIN),)
    lost = {record.actor_key for record in records[:5]}
    records = [record.model_copy(update={"regions": elsewhere if record.actor_key in lost else record.regions,
                                         "retention_until": DAY.replace(year=2020 if i >= 38 else 2099)})
               for i, record in enumerate(records)]
    home = make_home(tmp_path, 0, records=records)
    found = json.loads(run("review", plan_file, "--home", home.path, "--json").stdout)["own_records"]
    here = {record.actor_key for record in records[:38]}
    assert (found["people"], found["withheld"]) == (len(here), 2)
    labelled = {record.actor_key for record in records[:38] if any(
        label.value in (LabelValue.POSITIVE, LabelValue.NEGATIVE) for label in record.labels)}
    assert found["training_people"] + found["held_out_people"] == len(labelled)
    # Who has no place here may still count in the table of how often the model is right.
    secret = home.keyed("holdout")
    measured = {key for key in lost & labelled if secret.value(key) < plan.holdout_share}
    assert found["counted_people"] == len(here - lost | measured)
    output = " ".join(run("review", plan_file, "--home", home.path).stdout.split())
    for said in (f"{len(here)} people here", f"{found['held_out_people']} people do not train: held out to measure",
                 f"{len(lost - measured)} people do not count: none of their records is of the period and has a "
                 "region of the plan as origin or observed.",
                 "2 records take no part: retention has ended"):
        assert said in output


def test_a_review_before_any_record_says_so(tmp_path: Path, plan_file: Path) -> None:
    result = run("review", plan_file, "--home", make_home(tmp_path, 0).path)
    assert result.exit_code == 0
    assert "Nobody yet: no record store" in result.stdout


def test_broken_rules_come_first_and_end_without_a_way_to_approve(tmp_path: Path, plan_file: Path) -> None:
    strict = POLICY.model_copy(update={"minimum_partners": 9, "rehearsal": "refuse"})
    home = make_home(tmp_path, 0, policy=strict)
    result = run("review", plan_file, "--home", home.path)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    rules = lines[lines.index("Your rules") + 1:]
    marks = [line.split()[0] for line in rules if line.startswith(("  kept", "  BROKEN"))]
    assert marks == ["BROKEN"] * 2 + ["kept"] * 13
    assert "partner approve" not in result.stdout
    assert "partner decline" in result.stdout
    found = json.loads(run("review", plan_file, "--home", home.path, "--json").stdout)
    assert not found["can_be_approved"]
    assert [rule["rule"] for rule in found["rules"] if not rule["met"]] == ["minimum_partners", "rehearsal"]


def test_a_plan_that_is_not_addressed_here_says_so(tmp_path: Path, plan_file: Path) -> None:
    home = make_home(tmp_path, 4)
    result = run("review", plan_file, "--home", home.path)
    assert result.exit_code == 3
    assert "and partner-4 is not one of them" in " ".join(result.stdout.split())
    assert "BROKEN  the plan does not list this partner" in result.stdout


def test_what_the_account_says_is_shown(home: NodeHome, plan_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.accounts.outlook", lambda *_: Outlook(
        year_before=95.0, year_after=97.5, total_before=99.0, total_after=101.0, problem="The ledger's own words."))
    output = " ".join(run("review", plan_file, "--home", home.path).stdout.split())
    assert "This year: ε = 95.000 spent so far, 97.500 with this study, ceiling 100" in output
    assert "Ever: ε = 99.000 spent so far, 101.000 with this study, ceiling 200" in output
    assert "NOT ENOUGH: the node will refuse. The ledger's own words." in output
    assert "No account" not in output


# Plans that cannot even be read


def _cheap(plan: StudyPlan) -> str:
    claim = PrivacyClaim(**{**plan.privacy.model_dump(), "total_epsilon": 0.1})
    return sign(plan.model_copy(update={"privacy": claim})).to_json()


@pytest.mark.parametrize("command", ["review", "approve", "decline"])
@pytest.mark.parametrize(("damage", "word"), [
    (lambda plan: SignedPlan.sign(plan, SigningKey.generate()).to_json(), "pinned"),
    (lambda plan: sign(plan).to_json().replace('"rounds":2', '"rounds":3'), "sha256"),
    (lambda plan: "nonsense", "not a valid study plan"), (_cheap, "total_epsilon"),
], ids=["another key", "changed", "nonsense", "too cheap"])
def test_a_plan_that_does_not_check_out_is_not_shown_or_decided(
        home: NodeHome, plan: StudyPlan, plan_file: Path, command: str, damage: Any, word: str) -> None:
    plan_file.write_text(damage(plan))
    result = run(command, plan_file, "--home", home.path, *(["--yes"] if command == "approve" else []))
    assert result.exit_code == 2
    assert word in result.stderr
    assert not result.stdout
    assert not home.approvals_dir.exists()


@pytest.mark.parametrize("command", ["review", "approve"])
def test_without_rules_there_is_nothing_to_hold_a_plan_against(home: NodeHome, plan_file: Path, command: str) -> None:
    (home.path / "policy.yaml").unlink()
    result = run(command, plan_file, "--home", home.path)
    assert result.exit_code == 2
    assert "no rules" in result.stderr
    assert "copy its policy.yaml here" in result.stderr
    (home.path / "policy.yaml").write_text("")
    (home.path / "policy.yaml").chmod(0o600)
    assert "policy.yaml: holds no rules." in run(command, plan_file, "--home", home.path).stderr
    assert run(command, plan_file, "--home", home.path / "nowhere").exit_code == 2
    assert run(command, plan_file.with_name("nowhere"), "--home", home.path).exit_code == 2


# approve, decline


def test_approving_shows_the_review_and_asks_for_the_name(home: NodeHome, plan: StudyPlan, plan_file: Path) -> None:
    result = run("approve", plan_file, "--home", home.path, typed="test\n")
    assert result.exit_code == 0, result.output
    places = [result.output.index(word) for word in ("Who asks", "What it costs", "type the study's name", "approved.")]
    assert places == sorted(places)
    assert require_approval(home, plan).decision is Decision.APPROVED
    again = run("review", plan_file, "--home", home.path)
    assert "this plan was approved here, at ε = 3.540" in again.stdout
    assert "To withdraw the approval (what is spent stays spent):" in " ".join(again.stdout.split())
    assert "until you approve" not in again.stdout


@pytest.mark.parametrize("typed", ["yes\n", "\nTest\n", ""])
def test_anything_but_the_name_approves_nothing(home: NodeHome, plan_file: Path, typed: str) -> None:
    result = run("approve", plan_file, "--home", home.path, typed=typed)
    assert result.exit_code == 1
    assert not home.approvals_dir.exists()


def test_approving_in_a_script(home: NodeHome, plan: StudyPlan, plan_file: Path) -> None:
    result = run("approve", plan_file, "--home", home.path, "--yes", "--json")
    assert result.exit_code == 0
    written = json.loads(result.stdout)
    assert (written["decision"], written["plan_sha256"]) == ("approved", plan.sha256)
    assert written["price"]["total"] == price(plan).total
    require_approval(home, plan)


def test_what_breaks_a_rule_cannot_be_approved(tmp_path: Path, plan: StudyPlan, plan_file: Path) -> None:
    home = make_home(tmp_path, 0, policy=POLICY.model_copy(update={"least_noise_multiplier": 6.0}))
    result = run("approve", plan_file, "--home", home.path, "--yes")
    assert result.exit_code == 3
    assert "BROKEN  least_noise_multiplier: 5 (allowed: at least 6)" in result.stdout
    assert find_approval(home, plan.sha256) is None
    other = make_home(tmp_path, 4)
    assert run("approve", plan_file, "--home", other.path, "--yes").exit_code == 3


def test_approving_where_nobody_answers_says_that_nothing_was_written(home: NodeHome, plan_file: Path) -> None:
    result = run("approve", plan_file, "--home", home.path)
    assert result.exit_code == 1
    assert "Nobody answered, so nothing was written." in result.stderr
    assert "--yes" in result.stderr
    assert not home.approvals_dir.exists()


@pytest.mark.parametrize("command", [["approve", "--yes"], ["decline"]])
def test_deciding_the_same_again_writes_nothing(home: NodeHome, plan: StudyPlan, plan_file: Path,
                                                command: list[str]) -> None:
    decision = {"approve": "approved", "decline": "declined"}[command[0]]
    run(*command, plan_file, "--home", home.path)
    path = approval_path(home, plan.sha256)
    before = path.read_bytes(), path.stat().st_ino
    again = run(command[0], plan_file, "--home", home.path)
    assert again.exit_code == 0
    assert f"This plan was already {decision} on 20" in again.stdout
    assert "Nothing was written" in again.stdout
    assert json.loads(run(*command, plan_file, "--home", home.path, "--json").stdout)["decision"] == decision
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_what_a_plan_has_spent_is_told_and_stays_spent(home: NodeHome, plan: StudyPlan, plan_file: Path) -> None:
    run("approve", plan_file, "--home", home.path, "--yes")
    with open_account(home, POLICY.ceilings) as ledger:
        ledger.answer(LedgerRequest.of(plan, Stage.TRAIN, 1, "a" * 64), ceilings=POLICY.ceilings, work=lambda: b"reply")
        with pytest.raises(RuntimeError):
            ledger.answer(LedgerRequest.of(plan, Stage.TABLE, 1, "a" * 64), ceilings=POLICY.ceilings, work=_lost)
    spent = up(price(plan).total)
    review = " ".join(run("review", plan_file, "--home", home.path).stdout.split())
    assert f"This study has begun: 1 request was answered, 1 without a reply. ε = {spent} is spent on it" in review
    declined = run("decline", plan_file, "--home", home.path)
    assert f"1 of its requests were answered before: ε = {spent} is spent on each person here" in declined.stdout
    assert "stays spent" in declined.stdout
    run("approve", plan_file, "--home", home.path, "--yes")
    (home.path / "ledger.head").unlink()
    declined = run("decline", plan_file, "--home", home.path)
    assert declined.exit_code == 0
    assert "could not be read" in declined.stdout


def _lost() -> bytes:
    raise RuntimeError("the process died")


def test_a_declined_plan_is_not_offered_to_be_declined(home: NodeHome, plan_file: Path, tmp_path: Path) -> None:
    assert "nothing was spent on it" in run("decline", plan_file, "--home", home.path).stdout
    assert "partner decline" not in run("review", plan_file, "--home", home.path).stdout
    strict = make_home(tmp_path / "strict", 0, policy=POLICY.model_copy(update={"minimum_partners": 9}))
    run("decline", plan_file, "--home", strict.path)
    review = run("review", plan_file, "--home", strict.path).stdout
    assert "cannot run here" in review
    assert "To decline" not in review


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_plan_file_that_was_cut_short_is_said_to_be(home: NodeHome, plan_file: Path, share: float) -> None:
    whole = plan_file.read_text()
    plan_file.write_text(whole[:int(len(whole) * share)])
    result = run("review", plan_file, "--home", home.path)
    assert result.exit_code == 2
    assert f"{plan_file}: is not a valid study plan: it ends too soon" in result.stderr
    assert "JSON" not in result.stderr


def test_declining_and_thinking_again(home: NodeHome, plan: StudyPlan, plan_file: Path) -> None:
    assert run("approve", plan_file, "--home", home.path, "--yes").exit_code == 0
    result = run("decline", plan_file, "--home", home.path)
    assert result.exit_code == 0
    assert "test is declined" in result.stdout
    with pytest.raises(Refusal):
        require_approval(home, plan)
    review = run("review", plan_file, "--home", home.path).stdout
    assert "this plan was declined here" in review
    assert "To approve:" in review
    assert json.loads(run("decline", plan_file, "--home", home.path, "--json").stdout)["decision"] == "declined"


def test_a_decision_that_was_tampered_with_stands_in_the_way_until_decided_again(
        home: NodeHome, plan: StudyPlan, plan_file: Path) -> None:
    run("approve", plan_file, "--home", home.path, "--yes")
    path = approval_path(home, plan.sha256)
    path.write_text(re.sub('"total":[0-9.]+', '"total":0.1', path.read_text()))
    result = run("review", plan_file, "--home", home.path)
    assert result.exit_code == 3
    assert "BROKEN" in result.stdout
    assert "was changed" in " ".join(result.stdout.split())
    run("decline", plan_file, "--home", home.path)
    assert run("review", plan_file, "--home", home.path).exit_code == 0


def test_a_price_that_changed_since_the_approval_is_told_and_can_be_approved_again(
        home: NodeHome, plan: StudyPlan, plan_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = price(plan)
    with monkeypatch.context() as patch:
        patch.setattr("clients.approvals.price", lambda _: replace(true, total=4.0))
        run("approve", plan_file, "--home", home.path, "--yes")
    review = run("review", plan_file, "--home", home.path).stdout
    assert "approved here, at ε = 4.000 at δ = 1e-05" in review
    assert "Its price has changed since, so that decision no longer holds." in review
    assert "Nothing runs here until you approve." in review
    assert run("approve", plan_file, "--home", home.path, "--yes").exit_code == 0
    require_approval(home, plan)


def test_from_an_empty_folder_to_an_approval(tmp_path: Path) -> None:
    made = run("init", tmp_path / "node", *INIT, "--json")
    entry = RosterEntry.model_validate_json(made.stdout)
    draft = make_plan(partners=3, noise_multiplier=12.0)
    others = tuple(other.model_copy(update={"regions": ("RO-IS",)}) for other in draft.roster)
    statistics = make_statistics(regions=("RO-IS", "RO-VS"), super_regions=(), corridors=(), noise_scale=12.0)
    draft = StudyPlan.model_validate({**draft.model_dump(), "roster": (*(o.model_dump() for o in others),
                                                                       entry.model_dump()),
                                      "statistics": statistics.model_dump(), "synthetic": False, "rehearsal": False,
                                      "label": "Public texts"})
    cost = price(draft, partners=())
    real = draft.model_copy(update={"privacy": PrivacyClaim(
        delta=1e-5, training_epsilon=cost.training, statistics_epsilon=cost.statistics, total_epsilon=cost.total)})
    (tmp_path / "plan.json").write_text(sign(real).to_json())
    reviewed = run("review", tmp_path / "plan.json", "--home", tmp_path / "node")
    assert reviewed.exit_code == 0, reviewed.stdout
    assert "rehearsal: a real study (allowed: real studies)" in reviewed.stdout
    assert run("approve", tmp_path / "plan.json", "--home", tmp_path / "node", typed="test\n").exit_code == 0
    home = NodeHome.load(tmp_path / "node")
    require_approval(home, real)
    tree = yaml.safe_load((tmp_path / "node" / "policy.yaml").read_text())
    assert Policy.load(home.path) == Policy.parse(yaml.safe_dump(tree).encode())
