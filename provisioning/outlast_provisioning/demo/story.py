"""``outlast demo``: the reference, the job that loses its machines, the comparison."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.live import Live

from outlast_provisioning.demo.compare import compare_outputs
from outlast_provisioning.demo.measure import Report, build_report, loss_costs
from outlast_provisioning.demo.plan import Point, spread_points
from outlast_provisioning.demo.runs import (
    DemoError,
    JobRun,
    JobStory,
    PlainRun,
    Watch,
    copy_code,
    run_plain,
)
from outlast_provisioning.demo.steplog import Step
from outlast_provisioning.demo.view import Scene, show_scene, show_table, show_timeline
from outlast_provisioning.exits import BAD_INPUT, INTERRUPTED, JOB_FAILED, OK
from outlast_provisioning.providers.local import LocalProvider

EPOCHS = 80
ENV = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}


def run_demo(
    evictions: int = 3, grace: float = 30.0, json_file: Path | None = None, keep: Path | None = None
) -> int:
    """Tell the story; its exit code, as in ``exits``: 3 if anything differs.

    ``grace``: notice in seconds. ``json_file``: where the figures go. ``keep``: an empty or new
    folder that everything is left in.
    """
    console = Console()
    for package in ("tensorflow", "sklearn"):
        if importlib.util.find_spec(package) is None:
            console.print(f"The demo trains with {package}: pip install 'outlast[demo]'")
            return BAD_INPUT
    if keep is not None and keep.exists() and any(keep.iterdir()):
        console.print(f"{keep} is not empty: give a new folder to --keep")
        return BAD_INPUT
    with _workspace(keep) as folder, _terminated_as_interrupt():
        try:
            report, steps = Demo(folder, console, grace).tell(evictions)
        except DemoError as error:
            console.print(f"The demo could not be told: {error}", markup=False)
            return JOB_FAILED
        except KeyboardInterrupt:
            console.print("Stopped; every process of the demo has ended.")
            return INTERRUPTED
        console.print(show_timeline(report, steps))
        console.print(show_table(report))
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps(report.to_json(), indent=1) + "\n")
            console.print(f"Figures: {json_file}")
        if keep is not None:
            console.print(f"Everything is in {keep}: `outlast status digits --store", end="")
            console.print(f" file://{keep / 'job' / 'store'}`")
    return OK if report.passed else JOB_FAILED


class Demo:
    """The demo's runs, one after the other, in one folder."""

    def __init__(self, folder: Path, console: Console, grace: float, epochs: int = EPOCHS) -> None:
        self.folder = folder
        self.console = console
        self.grace = grace
        self.epochs = epochs
        self.code = copy_code(example_folder(), folder / "code")
        self.command = ["python", "train.py", "--epochs", str(epochs)]

    def tell(self, evictions: int) -> tuple[Report, list[Step]]:
        """Reference, the same without the callback, then the job."""
        reference = self.reference()
        again = self.plain("plain", "The same without the callback", "--plain")
        equal = compare_outputs(reference.outputs, again.outputs).equal
        points = spread_points(
            evictions, 1, len(reference.steps), len(reference.steps) // self.epochs
        )
        job = self.job("job", points, len(reference.steps))
        return self.report(job, reference, equal), job.steps

    def reference(self) -> PlainRun:
        """The uninterrupted run with the callback."""
        return self.plain("reference", "The uninterrupted reference")

    def plain(self, name: str, title: str, *arguments: str) -> PlainRun:
        """An uninterrupted run."""
        command = [sys.executable, *self.command[1:], *arguments]
        with self._live(title, 0) as watch:
            return run_plain(self.folder / name, command, self.code, ENV, watch)

    def job(self, name: str, points: list[Point], steps: int) -> JobRun:
        """A job whose machine is taken away at ``points``."""
        home = self.folder / name / "home"
        provider = LocalProvider(home)
        title = f"The job, losing its machine {len(points)} times"
        with self._live(title, steps) as watch:
            story = JobStory(
                folder=self.folder / name,
                code=self.code,
                command=self.command,
                env=ENV,
                grace=self.grace,
                home=home,
                provider=provider,
                watch=watch,
            )
            try:
                return story.run(points)
            finally:
                for machine in provider.list():
                    provider.delete(machine.name)

    def report(self, job: JobRun, reference: PlainRun, equal: bool | None) -> Report:
        """Compare the job with the reference."""
        try:
            costs = loss_costs(job.losses, job.steps, job.times, reference.start_seconds)
        except ValueError as error:
            raise DemoError(f"{error}: see {self.folder}") from error
        return build_report(
            costs,
            job.steps,
            reference.steps,
            compare_outputs(job.outputs, reference.outputs),
            reference_again_equal=equal,
            plain_start_seconds=reference.start_seconds,
            reference_seconds=reference.seconds,
            job_seconds=job.seconds,
        )

    @contextmanager
    def _live(self, title: str, steps_total: int) -> Iterator[Watch]:
        with Live(console=self.console, refresh_per_second=8, transient=True) as live:

            def watch(step: int, job: str, events: list[str]) -> None:
                live.update(show_scene(Scene(title, step, steps_total, job, events)))

            yield watch
        self.console.print(f"{title}: done")


def example_folder() -> Path:
    """The digits example: package data of a wheel, the checkout's folder in an editable install."""
    inside = Path(__file__).parent / "digits"
    return inside if inside.exists() else Path(__file__).parents[3] / "examples" / "digits"


@contextmanager
def _workspace(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="outlast-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, so that its machines are deleted."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
