"""The privacy account of a node's home, under the ceilings of the partner's own rules."""

from __future__ import annotations

from clients.ledger import Audit, Ledger, LedgerRequest, Outlook, Stage, restore_head
from clients.node import NodeHome
from clients.policy import Ceilings
from federation.errors import InputError
from federation.plan import StudyPlan
from federation.privacy.units import Budget


def open_account(home: NodeHome, ceilings: Ceilings) -> Ledger:
    """Open the account of a home, or start it.

    Raises:
        Refusal: as `Ledger.open`.
    """
    return Ledger.open(
        home.path, key=home.signing_key(), partner=home.settings.name, head_path=home.settings.ledger_head,
        total=Budget(epsilon=ceilings.total, delta=ceilings.delta),
        year=Budget(epsilon=ceilings.year, delta=ceilings.delta))


def has_account(home: NodeHome) -> bool:
    """Whether an account was ever opened here, as far as its files tell."""
    head = home.settings.ledger_head or home.path / "ledger.head"
    return (home.path / "ledger.sqlite").exists() or head.exists()


def existing_account(home: NodeHome) -> Ledger:
    """Open an account that a study has opened before.

    Raises:
        InputError: if there is none.
        Refusal: as `Ledger.open`.
    """
    _require_account(home)
    return open_account(home, home.policy().ceilings)


def restore_account_head(home: NodeHome) -> Audit:
    """Write the lost head of a home's account anew; whoever calls this vouches that the ledger there is the newest.

    Raises:
        InputError: if there is no account.
        Refusal: as `clients.ledger.restore_head`.
    """
    _require_account(home)
    return restore_head(home.path, key=home.signing_key(), head_path=home.settings.ledger_head)


def _require_account(home: NodeHome) -> None:
    if not has_account(home):
        raise InputError(str(home.path), "has no account yet", remedy="it opens when the first approved study begins")


def outlook(home: NodeHome, ceilings: Ceilings, plan: StudyPlan) -> Outlook | None:
    """What the account would hold after `plan`; None while there is none.

    Raises:
        Refusal: as `Ledger.open`.
    """
    if not has_account(home):
        return None
    with open_account(home, ceilings) as ledger:
        return ledger.outlook(LedgerRequest.of(plan, Stage.TRAIN, 1, "0" * 64), ceilings)
