"""`make demo-deployment`: a coordinator and three partners, each with processes, folders, keys and TLS of its own.

Everything is done by the commands that people use. Ports are on this machine's loopback, records are public texts (or
invented ones, without DATA), and noise comes from a seed, so that the result can be held against the in-process grid:
model and measurements must come out the same, to the byte. Exit code 0: they did, and the release was verified.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from clients.node import NodeHome
from federation.deployment.keeper import running_state
from federation.deployment.serving import free_port
from federation.identity import SigningKey
from federation.plan import SignedPlan
from server.coordinator import CoordinatorHome
from server.rounds import StageReport
from server.studies import Study
from simulations.command import run_command
from simulations.engine import run_in_process
from simulations.homes import IngestJob, approve, coordinator_key, ingest, make_coordinator, make_node
from simulations.launch import compose_settings
from simulations.settings import Settings
from simulations.world.interface import World, WorldPartner

PARTNERS = {"real": ("dreaddit-abuse", "dreaddit-housing", "dreaddit-relationships"),
            "synthetic": ("ngo-shelter", "agency-labour", "platform-jobs")}
SIGNERS = ("anna", "ben")
_READY_SECONDS = 120.0


class Failed(RuntimeError):
    """A step did not do what it should."""


@dataclass
class Deployment:
    """A coordinator and partners below one folder, with the processes that run.

    Attributes:
        folder: everything is below it.
        overrides: settings of the plan.
        partners: that take part, by name.
    """

    folder: Path
    settings: Settings
    world: World
    partners: tuple[WorldPartner, ...]
    overrides: tuple[str, ...] = ()
    stack: ExitStack = field(default_factory=ExitStack)
    port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def coordinator(self) -> CoordinatorHome:
        return CoordinatorHome(self.folder / "coordinator")

    def node(self, name: str) -> NodeHome:
        return NodeHome.load(self.folder / "nodes" / f"{self._number(name):03d}-{name}")

    def _number(self, name: str) -> int:
        return [one.name for one in self.world.partners].index(name)

    def do(self, *arguments: object, code: int = 0) -> str:
        """Run a command of `leelight` and give what it printed.

        Raises:
            Failed: if its exit code is another than `code`.
        """
        done = subprocess.run(_command(*arguments), capture_output=True, text=True, check=False)  # noqa: S603  our own
        if done.returncode != code:
            raise Failed(f"leelight {' '.join(map(str, arguments))}: exit code {done.returncode}, expected {code}\n"
                         f"{done.stdout}{done.stderr}")
        return done.stdout

    def set_up(self) -> None:
        """Homes, keys, invitation and enrolments; nothing runs yet."""
        self.do("coordinator", "init", self.coordinator.path, "--name", "coordinator", "--address",
                f"localhost:{self.port}", "--listen", f"127.0.0.1:{self.port}")
        # The simulation's homes pin the simulation's key.
        (self.coordinator.path / "coordinator.key").unlink()
        (self.coordinator.path / "journal.jsonl").unlink(missing_ok=True)
        coordinator_key(self.settings).save(self.coordinator.path / "coordinator.key")
        self._invite()
        for partner in self.partners:
            home = make_node(self.folder, self.settings, self.world, partner)
            self.do("partner", "join", self.coordinator.path / "invitation.json", "--home", home.path)
            self.do("coordinator", "enrol", home.path / "enrolment.json", "--key", home.signing_key().public,
                    "--home", self.coordinator.path)

    def _invite(self) -> None:
        from federation.private_files import replace_private
        from server.deployment.network import Network

        replace_private(self.coordinator.path / "invitation.json", Network(self.coordinator).invitation().to_text())

    def take_in(self) -> None:
        """Have every partner's file taken in."""
        for partner in self.partners:
            job = IngestJob(home=self.node(partner.name), settings=self.settings, today=self.world.period[1])
            outcome = ingest(job, lambda _: None)
            if outcome.report is None:
                raise Failed(outcome.problem)

    def plan(self, *overrides: str, approve: Sequence[str] | None = None) -> SignedPlan:
        """Have a plan composed and signed, and approved by every partner, or by those named."""
        named = []
        for name in SIGNERS:
            path = self.folder / f"{name}.key"
            if not path.is_file():
                SigningKey.generate().save(path)
            named += ["--signer", f"{name}={SigningKey.load(path).public}"]
        self.do("coordinator", "plan", "--home", self.coordinator.path, *named, "--role", "observed", "--rehearsal",
                *(["--regions-drawn"] if self.world.regions_drawn else []), *self.overrides, *overrides)
        for name in [one.name for one in self.partners] if approve is None else approve:
            self.do("partner", "approve", self.coordinator.plan_path, "--home", self.node(name).path, "--yes")
        return self.coordinator.signed_plan()

    def start(self, *names: str) -> None:
        """Start the coordinator (`coordinator`) or partners, and wait until they are up."""
        for name in names:
            what = ("coordinator", "start", "--home", self.coordinator.path) if name == "coordinator" else (
                "partner", "start", "--home", self.node(name).path)
            with (self.folder / f"{name}.out").open("ab") as output:
                self.running[name] = subprocess.Popen(_command(*what), stdout=output,  # noqa: S603  our own
                                                      stderr=subprocess.STDOUT)
            self.stack.callback(self.stop, name)
        if "coordinator" in names:
            self.wait(lambda: bool((running_state(self.coordinator.path) or {}).get("ready")), "the coordinator")

    def wait(self, ready: Any, what: str, *, seconds: float = _READY_SECONDS) -> None:
        """Wait until something is so.

        Raises:
            Failed: if it is not in time.
        """
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise Failed(f"{what} was not ready within {seconds:g} s; see {self.folder}")
            time.sleep(0.2)

    def stop(self, name: str) -> None:
        """Stop a process as a service manager does."""
        process = self.running.pop(name, None)
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def release(self) -> Path:
        """Draft, sign and publish, and have it verified."""
        home = self.coordinator.path
        self.do("release", "draft", "--home", home)
        for name in SIGNERS:
            self.do("release", "sign", "--name", name, "--key", self.folder / f"{name}.key", "--home", home)
        found: dict[str, Any] = json.loads(self.do("release", "publish", "--home", home, "--json"))
        release = Path(found["path"])
        self.do("audit", "release", release, "--coordinator-key", self.coordinator.signing_key().public)
        self.do("audit", "journal", home / "journal.jsonl")
        return release


def _command(*arguments: object) -> Sequence[str]:
    return [str(Path(sys.executable).with_name("leelight")), *map(str, arguments)]


@contextmanager
def deployment(folder: Path, *, data: Path | None, overrides: Sequence[str] = ()) -> Iterator[Deployment]:
    """Three partners on public texts, or on invented ones; whatever runs is stopped in the end."""
    kind = "real" if data is not None else "synthetic"
    world_of = ["world=real", "world.parts=[dreaddit]", f"data.root={data}"] if data else ["world.size=tiny"]
    settings = compose_settings([*world_of, *overrides])
    world = settings.open_world()
    partners = tuple(one for one in world.partners if one.name in PARTNERS[kind])
    start, end = world.period
    dates = (f"study.period_start={start}", f"study.period_end={end}")
    made = Deployment(folder, settings, world, partners, overrides=(*dates, *overrides))
    with made.stack:
        yield made


class _Quiet:
    def stage_done(self, report: StageReport) -> None:
        """Nobody looks."""


def in_process(folder: Path, made: Deployment, signed: SignedPlan) -> Study:
    """The same plan on the in-process grid, with homes of its own."""
    coordinator = make_coordinator(folder, made.settings)
    coordinator.keep_plan(signed)
    homes = []
    for partner in made.partners:
        home = make_node(folder, made.settings, made.world, partner)
        ingest(IngestJob(home=home, settings=made.settings, today=made.world.period[1]), lambda _: None)
        approve(home, signed)
        homes.append(home)
    run_in_process(signed, coordinator, homes, _Quiet())
    return coordinator.study(signed.sha256)


def memory(pid: int) -> dict[str, float]:
    """Resident megabytes of a process and everything below it, by program (Linux)."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                # The name may hold spaces and brackets; what follows it does not.
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                names[int(folder.name)] = (folder / "cmdline").read_text().split("\0")
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    found: dict[str, float] = {}
    for member in family & names.keys():
        name = next((Path(part).name for part in names[member] if "flower-" in part or "flwr-" in part), "leelight")
        with suppress(OSError):
            pages = int((Path("/proc") / str(member) / "statm").read_text().split()[1])
            found[name] = max(found.get(name, 0.0), round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1))
    return found


def main(
    folder: Annotated[Path, typer.Argument(help="For everything that is made; new or empty.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the public sets; invented records without it.")] = None,
    rounds: Annotated[int, typer.Option(help="Of training.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run a whole deployment on this machine, and say what it took."""
    console = Console(stderr=as_json)
    took: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        began = time.perf_counter()
        with console.status(name):
            yield
        took[name] = time.perf_counter() - began
        console.print(f"{name}: {took[name]:.1f} s")

    folder.mkdir(parents=True, exist_ok=True)
    with deployment(folder, data=data, overrides=[f"training.rounds={rounds}"]) as made:
        with step("Homes, keys, enrolments"):
            made.set_up()
        with step("Plan, records, approvals"):
            made.take_in()
            signed = made.plan()
        with step("Coordinator up"):
            made.start("coordinator")
        made.start(*(one.name for one in made.partners))
        with step("Study"):
            made.do("coordinator", "run", "--home", made.coordinator.path)
        memories = {name: memory(process.pid) for name, process in made.running.items()}
        with step("Release, and its verification"):
            release = made.release()
        study = made.coordinator.study(signed.sha256)
        with step("The same on the in-process grid"):
            other = in_process(folder / "in-process", made, signed)
        same = {name: (study.path / name).read_bytes() == (other.path / name).read_bytes()
                for name in ("model.safetensors", "measurements.json")}
    stages = json.loads((study.path / "stages.json").read_text(encoding="utf-8"))
    if as_json:
        typer.echo(json.dumps({"seconds": took, "stages": stages, "same": same, "megabytes": memories,
                               "release": str(release)}, indent=1))
    else:
        table = Table("Stage", "Seconds", "Answered", box=None)
        for stage in stages:
            table.add_row(stage["stage"], f"{stage['seconds']:.1f}", ", ".join(stage["answered"]))
        console.print(table)
        console.print(f"The release is verified: {release}")
        console.print("Model and measurements equal those of the in-process grid." if all(same.values())
                      else f"NOT the same as on the in-process grid: {same}")
    raise typer.Exit(0 if all(same.values()) else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_command(main)
