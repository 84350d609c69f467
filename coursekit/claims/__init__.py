"""Claims of papers beside this course's own measurements of them.

A chapter states its claim once, in a cell of its own, with `claim`. The page runs one seed and
fails when the claim does not hold; ``coursekit claims`` runs fresh seeds and appends every run to
``book/claims/<part>/<name>.json``; `ledger` lists all claims with what was recorded. Each run keeps
a hash of the code that its experiment depended on, so that figures of other code are told apart.
"""

from coursekit.claims.page import claim, ledger
from coursekit.claims.records import stale_claims
from coursekit.claims.stated import ClaimError, ClaimFailed

__all__ = ["ClaimError", "ClaimFailed", "claim", "ledger", "stale_claims"]
