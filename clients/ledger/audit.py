"""Checking a ledger from its files alone, believing nothing: every hash, signature, rule and figure.

The same check serves the owner, whose replies lie beside the entries, and an auditor who has an export and the
partner's public key and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from clients.ledger.account import Account, Study, is_past, read_entry
from clients.ledger.book import check_head
from clients.ledger.ceilings import spent
from clients.ledger.chain import BEGINNING, Head, Link, check_follows, checking_signatures
from clients.ledger.entries import Committed
from clients.ledger.problems import Unusable, unusable
from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.privacy.accounting import epsilon_of, epsilon_of_renyi, renyi_divergence

_TOLERANCE = 1e-6
_AGAIN = "ask the partner for the export again, and for its public key by another channel"
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a full check found, all of it computed again.

    Attributes:
        open_reservations: reserved without a reply; they count as spent.
        epsilon: the composed privacy loss of everything, at the account's delta.
        renyi_epsilon: the same by the filter's order alone: valid however the studies were chosen.
        studies: (name, hash of the plan, epsilon with further attempts) at the account's delta.
        replies_checked: 0 where the replies did not come along. Those that are older than `REPLY_DAYS` may be gone.
    """

    partner: str
    public_key: str
    entries: int
    commits: int
    open_reservations: int
    first: datetime
    last: datetime
    delta: float
    epsilon: float
    renyi_order: int
    renyi_epsilon: float
    studies: tuple[tuple[str, str, float], ...]
    replies_checked: int


def audit(links: Sequence[Link], head: Head, public_key: str,
          replies: Iterable[tuple[int, bytes]] = (), *, now: datetime | None = None) -> Audit:
    """Check a whole chain and its head.

    Args:
        links: all of them, in order.
        head: with its signature checked.
        public_key: the partner's, from a source that is trusted.
        replies: all of them by the number of the commit, in order.
        now: tells which of them need not be there any more. None: the replies did not come along.

    Raises:
        Refusal: `ledger_unusable`, naming what does not fit.
    """
    account, tip = Account(), BEGINNING
    with checking_signatures(links, public_key):
        for link in links:
            check_follows(link, tip)
            account.take(link.seq, read_entry(link))
            tip = link
        check_head(head, tip, lambda seq: links[seq - 1])
        terms, commits = account.terms, account.commits()
        if terms.public_key != public_key:
            raise unusable("entry 1", "names another key than the one that signed it", "do not trust this ledger")
        checked = 0 if now is None else _check_replies(commits, replies, now)
        studies = tuple(_study(account, plan, study) for plan, study in account.studies.items())
        divergence = sum(renyi_divergence(event, terms.renyi_order) for event in account.spent())
        return Audit(
            partner=terms.partner, public_key=public_key, entries=tip.seq, commits=len(commits),
            open_reservations=sum(len(study.requests) for study in account.studies.values()) - len(commits),
            first=terms.at, last=account.last or terms.at, delta=terms.delta,
            epsilon=spent(account.spent(), terms.delta), renyi_order=terms.renyi_order,
            renyi_epsilon=epsilon_of_renyi(divergence, order=terms.renyi_order, delta=terms.delta) if studies else 0.0,
            studies=studies, replies_checked=checked)


def _study(account: Account, plan: str, study: Study) -> tuple[str, str, float]:
    held = study.held
    price = epsilon_of([event for stage in held.stages for event in stage.whole()], delta=held.delta)
    if price > held.epsilon + _TOLERANCE:
        raise unusable(f"study {held.study}", f"was held at ε = {held.epsilon:.4f} and costs {price:.4f}",
                       "do not trust this ledger's figures; those computed here are right")
    return held.study, plan, spent(account.spent(plan=plan), account.terms.delta)


def _check_replies(commits: Mapping[int, Committed], replies: Iterable[tuple[int, bytes]], now: datetime) -> int:
    remedy, found = "bring the ledger file back as it was, and find out who changed it", set()
    for seq, reply in replies:
        if seq in found or seq not in commits or commits[seq].reply_sha256 != sha256_hex(reply):
            raise unusable(f"entry {seq}", "has a reply that it did not commit", remedy)
        found.add(seq)
    lost = [seq for seq, commit in commits.items() if seq not in found and not is_past(commit, now)]
    if lost:
        raise unusable(f"entry {min(lost)}", "has lost its reply", remedy)
    return len(found)


def export_lines(links: Iterable[Link], head: Head) -> Iterator[bytes]:
    """The lines of an export: an entry each, and the head."""
    for link in links:
        yield canonical_json({**link._asdict(), "body": json.loads(link.body)}) + b"\n"
    yield canonical_json({"head": head.model_dump()}) + b"\n"


def verify_export(path: Path, public_key: str) -> Audit:
    """Check an exported ledger with nothing but the file and the partner's public key.

    Raises:
        InputError: if the key is none, or the file cannot be read.
        Refusal: `ledger_unusable`, naming the file and what does not fit.
    """
    key = public_key.strip().lower()
    if not _KEY.fullmatch(key):
        raise InputError("public key", f"{public_key!r} is not a key", bound="64 hexadecimal digits",
                         remedy="copy it whole, as `leelight ledger export` printed it for the partner")
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", remedy="check the path") from None
    if not lines:
        raise unusable(str(path), "is empty", _AGAIN)
    try:
        return _audit_lines(lines, key)
    except Unusable as found:
        # Whoever checks an export has no ledger that could be brought back.
        raise unusable(f"{path}, {found.name}", found.problem, _AGAIN) from None


def _audit_lines(lines: Sequence[bytes], key: str) -> Audit:
    links = [_link(number, line) for number, line in enumerate(lines[:-1], start=1)]
    head = _object(len(lines), lines[-1], {"head"})["head"]
    # Only for the message: a wrong key is likelier than a forgery, and would otherwise look like one.
    opened = json.loads(links[0].body) if links else None
    named = opened.get("public_key", key) if isinstance(opened, dict) else key
    if named != key:
        raise unusable("line 1", f"is the account of {named}, which is another key than the one given", _AGAIN)
    return audit(links, Head.read(canonical_json(head), key, name=f"line {len(lines)}"), key)


def _link(number: int, line: bytes) -> Link:
    found = _object(number, line, set(Link._fields))
    texts = (found["prev_hash"], found["hash"], found["signature"])
    if type(found["seq"]) is not int or not all(isinstance(text, str) for text in texts):
        raise unusable(f"line {number}", "is not an entry", _AGAIN)
    return Link(found["seq"], canonical_json(found["body"]), *texts)


def _object(number: int, line: bytes, keys: set[str]) -> dict[str, Any]:
    try:
        found = json.loads(line)
        # Written in the one way it can be: no name twice, nothing that two readers could read differently.
        sound = isinstance(found, dict) and found.keys() == keys and canonical_json(found) + b"\n" == line
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        raise unusable(f"line {number}", "is not what an export holds there", _AGAIN)
    return dict(found)
