"""What a person sees: the plan before anything runs, bars while it runs, a short table after."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.guarantee import ADJACENCY, UNIT, Price
from federation.privacy.units import up
from federation.secure import noise_in_words
from federation.statistics import scales_in_people
from server.rounds import StageReport
from simulations.federation import SIGNERS_FOLDER, FederationResult, read_release
from simulations.homes import SourceOutcome

_METHOD_NAMES = {
    "federated": "Federated, protected",
    "federated_without_privacy": "Federated, unprotected",
    "pooled_without_privacy": "Pooled, unprotected",
}


class TerminalDisplay:
    """Rich output on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(SpinnerColumn(), TextColumn("{task.description:<22}"), BarColumn(),
                                  MofNCompleteColumn(), TimeElapsedColumn(), console=console)
        self._rounds: Callable[[int], None] | None = None
        self._plan: StudyPlan | None = None

    def __enter__(self) -> TerminalDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def plan_ready(self, plan: StudyPlan, cost: Price) -> None:
        """Print the plan."""
        self._plan = plan
        kinds = [entry.kind.value for entry in plan.roster]
        training, table = plan.training, Table.grid(padding=(0, 2))
        sampling = "every slot in every step" if training.sampling_probability == 1 else (
            f"each slot with probability {training.sampling_probability:g}")
        several = ", ".join(f"{k} partners {up(epsilon)}" for k, epsilon in cost.at_partners)
        rows = (
            ("Partners", f"{len(plan.roster)} ({', '.join(f'{kinds.count(k)} {k}' for k in sorted(set(kinds)))}), "
                         f"at least {plan.conduct.quorum} must answer"),
            ("Tasks", ", ".join(plan.tasks)),
            ("Rounds", f"{training.rounds} of {training.local_steps} steps, {sampling}"),
            ("Protected", UNIT.in_words),
            ("Neighbours", ADJACENCY.in_words),
            ("Training", f"ε ≤ {up(cost.training)}: clip {training.l2_clip_norm:g}, noise "
                         f"{training.noise_multiplier:g} × clip, divisor from public slots"),
            ("Statistics", f"ε ≤ {up(cost.statistics)}: discrete Gaussian of scale "
                           f"{min(scales_in_people(plan).values()):g} and more in "
                           f"{'each table' if plan.statistics.aggregation is Aggregation.LOCAL else 'the sum'}"),
            ("Noise", noise_in_words(plan)),
            ("Together", f"[bold]ε ≤ {up(cost.total)} at δ = {cost.delta:g}[/bold] (composed as privacy loss "
                         "distributions, an upper bound)"),
            ("At several partners", f"the same person's ε: {several}"),
            ("Published", f"rates by region ({len(plan.statistics.regions)}), role "
                          f"({', '.join(plan.statistics.roles)}) and task, with intervals; cells whose noisy count is "
                          "below the threshold are withheld"),
            ("Encoder", f"{plan.encoder.name} {plan.encoder.version}, {plan.encoder.dimension} dimensions, frozen"),
            ("Plan", f"{plan.sha256[:16]}…, signed"),
        )
        for name, value in rows:
            table.add_row(f"[dim]{name}[/dim]", value)
        self.console.print(Panel(table, title=f"Study plan · [bold]{plan.label}[/bold]", title_align="left"))
        self._progress.start()

    def working(self, what: str, total: int | None) -> Callable[[int], None]:
        """Add a bar."""
        task = self._progress.add_task(what, total=total)
        return lambda done: self._progress.advance(task, done)

    def encoded(self, unreadable: int, encoder: str) -> None:
        """Say how many records the encoder cannot read."""
        if unreadable:
            self.console.print(f"{unreadable:,} records are in languages that {encoder} does not read; they are "
                               "neither trained on nor counted.")

    def ingested(self, outcomes: list[SourceOutcome]) -> None:
        """Print what became of each partner's file."""
        table = Table(box=None, header_style="dim")
        for column in ("Partner", "Accepted", "Quarantined", "Redactions", "People"):
            table.add_column(column, justify="left" if column == "Partner" else "right")
        for outcome in outcomes:
            report = outcome.report
            if report is None:
                table.add_row(outcome.partner, "[red]left out[/red]", "", "", "")
                continue
            table.add_row(outcome.partner, f"{report.accepted:,}", f"{sum(report.quarantined.values()):,}",
                          f"{sum(report.redacted.values()):,}", f"{report.people.people:,}")
        self.console.print(table)
        for outcome in outcomes:
            if outcome.problem:
                self.console.print(f"[red]{outcome.partner}[/red]: {escape(outcome.problem)}")

    def stage_done(self, report: StageReport) -> None:
        """Advance the bar of rounds, and say who was missing, or held to the norm bound."""
        if self._rounds is None and self._plan is not None:
            self._rounds = self.working("Train and count", self._plan.training.rounds + 2)
        if self._rounds is not None:
            self._rounds(1)
        if report.late:
            self.console.print(f"[yellow]{report.stage}[/yellow]: no answer in time from {', '.join(report.late)}")
        if report.refused and report.stage in ("hello", "round 1", "table"):
            told = ", ".join(f"{who} ({code})" for who, code in report.refused)
            self.console.print(f"[yellow]{report.stage}[/yellow]: declined by {told}")
        if report.scaled:
            self.console.print(f"[yellow]{report.stage}[/yellow]: longer than the plan's norm bound, and scaled down "
                               f"to it: the updates of {', '.join(report.scaled)}")

    def finished(self, result: FederationResult, seconds: float) -> None:
        """Print the results and where they are."""
        self._progress.stop()
        for task, figures in result.quality.items():
            self.console.print(_quality_table(task.value, figures, result.test_people))
        if result.release is None:
            self.console.print(f"Nothing is released. {seconds:.0f} s in all.")
            self.console.print(f"Release  leelight release draft --home {result.folder / 'coordinator'}\n"
                               f"Keys     {result.folder / SIGNERS_FOLDER}", soft_wrap=True)
        else:
            shown, total = count_cells(read_release(result.release))
            self.console.print(f"Released {shown} of {total} cells; the rest are withheld. {seconds:.0f} s in all.")
            self.console.print(f"Open     {result.release / 'index.html'}\nCheck    leelight audit release "
                               f"{result.release}", soft_wrap=True)
        self.console.print(f"Results  {result.folder / 'results.json'}", soft_wrap=True)


def _quality_table(task: str, figures: dict[str, Any], people: int) -> Table:
    table = Table(title=f"{task}, on {people:,} held-out people", title_justify="left", box=None, header_style="dim")
    for column in ("", "AUC", "PR-AUC", "F1", "Calibration error"):
        table.add_column(column, justify="left" if not column else "right")
    names = ("auc", "pr_auc", "f1", "calibration_error")
    for method, title in _METHOD_NAMES.items():
        if method in figures:
            table.add_row(title, *(_figure(figures[method][name]) for name in names))
        if method == "federated" and figures.get("alone"):
            mean = [_mean(one[name] for one in figures["alone"].values()) for name in names]
            table.add_row(f"Alone, protected (mean of {len(figures['alone'])})", *(_figure(value) for value in mean))
    return table


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def count_cells(release: dict[str, Any]) -> tuple[int, int]:
    """(shown, all) cells of a release."""
    cells = release["content"]["cells"]
    return sum(cell["status"] == "shown" for cell in cells), len(cells)


def relative(path: Path) -> Path:
    """`path` as seen from here, where that is shorter."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
