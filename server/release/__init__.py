"""From noisy sums to a signed, readable release.

One direction, and each step sees only what the one before let through:

    SummedTables ─ estimate ─► rates with intervals ─ gate ─► cells shown or withheld ─ bundle ─► release.json (content)
                                                                                          └─ page ─► index.html

The table (`regions.csv`) and the page are functions of the public content alone, so neither can show what
`release.json` does not hold.
"""
