"""The ServerApp: verify the plan, run the round loop, keep the outcome.

Where an earlier run of the same plan was killed or stopped, this one goes on from there.

Where the coordinator's home is comes from the coordinator's own environment (`LEELIGHT_COORDINATOR`) or, in process,
from the context; never from the run config, which the partners see.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from federation.errors import InputError
from federation.plan import SignedPlan
from federation.secure import check_plan
from server.coordinator import CoordinatorHome
from server.rounds import Observer, RoundLoop, StageReport

HOME_VARIABLE = "LEELIGHT_COORDINATOR"
log = logging.getLogger("leelight.coordinator")


class LogObserver:
    """Writes a line for each stage."""

    def stage_done(self, report: StageReport) -> None:
        log.info("%s: %d answered, %d late, %d refused, %.1f s", report.stage, len(report.answered), len(report.late),
                 len(report.refused), report.seconds)
        if report.scaled:
            log.warning("%s: longer than the plan's norm bound, and scaled down to it: the updates of %s", report.stage,
                        ", ".join(report.scaled))


def find_home(context: Context) -> CoordinatorHome:
    """The coordinator's home.

    Raises:
        InputError: if the coordinator has not said where it is.
    """
    configured = context.node_config.get("coordinator-home") or os.environ.get(HOME_VARIABLE)
    if not configured:
        raise InputError(HOME_VARIABLE, "is not set", remedy="set it to the coordinator's home folder")
    return CoordinatorHome(Path(str(configured)))


def make_app(observer: Observer) -> ServerApp:
    """A ServerApp that reports to `observer`."""
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        home = find_home(context)
        signed = SignedPlan.open(str(context.run_config["plan"]), trusted_key=home.signing_key().public)
        check_plan(signed.plan)
        # Before anybody is asked: a journal that cannot be written, or a study that has run, stops it here.
        home.keep_plan(signed)
        with home.running(signed) as checkpoint:
            home.keep(signed, RoundLoop(grid, signed.plan, observer, progress=checkpoint).run())

    return server_app


app = make_app(LogObserver())
