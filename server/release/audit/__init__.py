"""Checking a published release from its files alone, believing nobody: not the coordinator, not those who signed.

```
report = audit_release(folder, coordinator_key=key)
report.sound, [check for check in report.checks if check.outcome is Outcome.FAILED]
```

**What it shows.** That no byte was changed since enough different people signed; that what they signed follows from the
signed plan and the measured numbers that are shown, and was shown by the plan's rules; that the price is the true one;
that the journal tells the same story.

**What it cannot show** without the measurements and their salt, which stay with the coordinator: that the measured
numbers are those that were measured, and that what is withheld for a reason that only withheld numbers tell was rightly
withheld. And never: that partners counted what the plan says.
"""

from server.release.audit.report import Check, Finding, Outcome, Report
from server.release.audit.run import Evidence, audit_release

__all__ = ["Check", "Evidence", "Finding", "Outcome", "Report", "audit_release"]
