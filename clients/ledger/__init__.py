"""A partner's durable privacy account: what was ever spent on its people, on its own disk, and what may still be.

```
with Ledger.open(home.path, key=home.signing_key(), partner=home.settings.name, total=Budget(epsilon=8.0, delta=1e-6),
                 year=Budget(epsilon=4.0, delta=1e-6)) as ledger:
    request = LedgerRequest.of(plan, Stage.TRAIN, round_number, sha256_of_the_model_asked_about)
    reply = ledger.answer(request, ceilings=ceilings, work=lambda: bytes_made_from_records())
    balance = ledger.balance(ceilings)        # frozen dataclasses; changes nothing
    ledger.verify_full()                      # an Audit, or a Refusal that says what does not fit
    ledger.export(path)                       # for verify_export(path, public_key), anywhere
```

**What is charged.** A plan is fixed before it sees anything, so its whole price is held when its first request arrives,
as one composed privacy loss; what it leaves unused does not come back. Its requests are then free, once each: the same
request again gets the stored reply, another one for an answered round is refused, and an attempt after a crash is a
charge of its own. Ceilings for a request, a study, a calendar year and for ever are checked before anything is written.

**What is kept.** In the partner's home: `ledger.sqlite` (entries in a signed hash chain, and replies), `ledger.lock`,
and `ledger.head`, which can lie elsewhere. One process at a time reserves, runs and commits. Replies are kept for 90
days; entries for ever.

**What is not seen.** Somebody who can write in the home and holds an older ledger *and* its head can put both back;
keep the head on another disk against that. A clock set forward opens the next year's budget early; the total holds.

Everything that is refused is a `Refusal`: its code may cross to the coordinator, its detail is for the partner.
"""

from clients.ledger.audit import Audit, verify_export
from clients.ledger.balance import Balance, ChargeLine, Outlook, PeriodBalance, StudyBalance
from clients.ledger.ceilings import BudgetRefusal
from clients.ledger.entries import PlannedStage, Stage
from clients.ledger.ledger import OPENING_STEPS, STEPS, Ledger, restore_head
from clients.ledger.requests import LedgerRequest, planned_stages
from clients.policy import Ceilings

__all__ = ["OPENING_STEPS", "STEPS", "Audit", "Balance", "BudgetRefusal", "Ceilings", "ChargeLine", "Ledger",
           "LedgerRequest", "Outlook", "PeriodBalance", "PlannedStage", "Stage", "StudyBalance", "planned_stages",
           "restore_head", "verify_export"]
