"""Secure aggregation: the coordinator learns the sum of the partners' integer vectors and no vector.

Double masking with a consistency check (Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving
Machine Learning", CCS 2017, eprint 2017/281, the version for active adversaries), in five exchanges:

    partner -> coordinator            coordinator -> partners
    1 keys        signed public keys      the list of them (U1)
    2 shares      shares of two secrets   the shares sent to each (U2)
    3 masked      the masked vector       who sent one (U3)
    4 survivors   a signature of U3       enough signatures
    5 unmask      shares back

This package is arithmetic and messages. It opens no connection and no file, and knows nothing of records or noise:
distributed noise is added to the vector before it comes here.

What holds, if at most `colluders` partners work with the coordinator, and whatever those do: nobody learns more of the
honest partners' vectors than one sum, over at least `quorum` partners (less the colluders, who know their own). The
coordinator may send anything to anybody; it cannot stand between two partners, run a session without the roster's
partners, lower a threshold, ask twice, or have some partners unmask one list and others another.

What does not: a partner may put in any vector within the ring (robustness is another module's concern). The
coordinator, or enough partners, can always stop a session. The sum itself is exact: if the vectors carry too little
noise, it says too much. With one honest partner besides the colluders, the sum is that partner's vector, so the noise
must be sized for `quorum - colluders`. Python cannot wipe memory: a dropped secret is unreachable, not overwritten. A
node must not begin one session twice, nor go back to an earlier stored state.
"""

from federation.secagg.collector import Collector, Total
from federation.secagg.errors import Aborted, Code, ProtocolError, Stage
from federation.secagg.intake import Fault
from federation.secagg.participant import Participant
from federation.secagg.session import SessionSpec

__all__ = ["Aborted", "Code", "Collector", "Fault", "Participant", "ProtocolError", "SessionSpec", "Stage", "Total"]
