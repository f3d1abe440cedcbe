"""`python -m simulations.bench NAME`."""

from __future__ import annotations

import typer

from simulations.bench.dpsgd import dpsgd
from simulations.bench.ledger import ledger
from simulations.bench.release import release
from simulations.bench.scale.command import scale
from simulations.bench.secagg import secagg

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.command()(dpsgd)
app.command()(ledger)
app.command()(release)
app.command()(scale)
app.command()(secagg)


@app.callback()
def _bench() -> None:
    """Benchmarks that print ratios measured in one run."""


app()
