"""The command line. It only finds the command; each side brings its own.

    leelight simulate …      run a whole federation on this machine
    leelight partner …       a partner's node
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of `leelight`."""
    if sys.argv[1:2] == ["simulate"]:
        # Hydra reads the rest of the line itself: groups, overrides, --multirun, --cfg.
        from simulations.launch import main as simulate

        sys.argv = ["leelight simulate", *sys.argv[2:]]
        simulate()
        return
    import typer

    from clients.console import app as partner

    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich",
                      help="Federated analysis against human trafficking, with every person protected.")
    app.add_typer(partner, name="partner", help="A partner's node: ingest files and look at what was kept.")

    @app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def simulate_(ctx: typer.Context) -> None:
        """Run a whole federation on this machine. Takes Hydra overrides; see `leelight simulate --help`."""

    app.registered_commands[-1].name = "simulate"
    app()


if __name__ == "__main__":
    main()
