"""What a side did, in a file that is only ever added to: hash-chained and signed, for whoever wants to hold it to that.

```
journal = Journal.open_or_create(path, key=key, owner="coordinator", side=Side.COORDINATOR)
entry = journal.append(DraftWithdrawn(content_sha256=digest))      # on disk when this returns
report = verify_journal(read_journal(path), public_key=key.public, head=read_head(head_path(path)))
report.sound, report.problem, report.entries
```

**What is in it.** Acts of a closed list (`federation.journal.acts`), each with the public facts that belong to it:
hashes, names of partners and signers, figures of a plan or a release. There is no field for a count of records, a path
or a text, so none can be written by mistake.

**What it shows.** Whoever has the file and the owner's public key sees any entry that was edited, dropped, put in,
moved or repeated. That the end was cut off is seen with an anchor alone: the head beside the file, or the number and
hash of a later entry from elsewhere.

**What it cannot show.** The owner holds the key, and can leave an act out or write another history from the start.
What was anchored elsewhere before, as in a release, tells the two apart.
"""

from federation.journal.acts import (
    NO_PLAN,
    Act,
    Answered,
    DraftWithdrawn,
    Erased,
    Facts,
    Left,
    Opened,
    PartnerEnrolled,
    PartnerRevoked,
    PlanApproved,
    PlanDeclined,
    PlanSigned,
    Refused,
    ReleaseDrafted,
    ReleasePublished,
    ReleaseSigned,
    Side,
    StudyRun,
)
from federation.journal.entries import Anchor, Entry, Head
from federation.journal.files import Journal, head_path, read_head, read_journal
from federation.journal.verification import Fault, JournalReport, Problem, verify_journal

__all__ = ["NO_PLAN", "Act", "Anchor", "Answered", "DraftWithdrawn", "Entry", "Erased", "Facts", "Fault", "Head",
           "Journal", "JournalReport", "Left", "Opened", "PartnerEnrolled", "PartnerRevoked", "PlanApproved",
           "PlanDeclined", "PlanSigned", "Problem", "Refused", "ReleaseDrafted", "ReleasePublished", "ReleaseSigned",
           "Side", "StudyRun", "head_path", "read_head", "read_journal", "verify_journal"]
