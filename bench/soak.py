"""Random eviction points, each compared with the uninterrupted run.

Jobs of up to five points each, one in five without notice, the seed printed. A point passes if
its job ends equal to the reference bit for bit, no step is missing, and no step was repeated
after it (after a kill: no more than lie between two saves). Last line: ``N of N``; exit code 0
only if all passed. Writes ``bench/out/soak.json``.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from outlast_provisioning.demo.compare import compare_outputs
from outlast_provisioning.demo.measure import Report
from outlast_provisioning.demo.plan import random_points
from outlast_provisioning.demo.story import Demo

OUT = Path(__file__).parent / "out"
POINTS_A_JOB = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--keep", type=Path, help="a new folder that everything is left in")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    console = Console()
    console.print(f"seed {options.seed}")
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix="outlast-soak-") as temporary:
        demo = Demo(options.keep or Path(temporary), console, grace=30.0, epochs=options.epochs)
        reference = demo.reference()
        again = demo.plain("plain", "The same without the callback", "--plain")
        equal = compare_outputs(reference.outputs, again.outputs).equal
        total = len(reference.steps)
        left = options.points
        while left > 0:
            count = min(POINTS_A_JOB, left)
            points = random_points(count, count // POINTS_A_JOB, total, generator)
            job = demo.job(f"job-{len(reports) + 1}", points, total)
            report = demo.report(job, reference, equal)
            reports.append(report)
            left -= count
            console.print(_line(report))
    passed = sum(len(report.losses) for report in reports if report.passed)
    figures = {
        "seed": options.seed,
        "points": options.points,
        "passed": passed,
        "references_equal": equal,
        "jobs": [report.to_json() for report in reports],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "soak.json").write_text(json.dumps(figures, indent=1) + "\n")
    console.print(f"{passed} of {options.points}")
    return 0 if equal and passed == options.points else 1


def _line(report: Report) -> str:
    at = ", ".join(
        f"{cost.stopped_step}{'' if cost.kind == 'notice' else ' (killed)'}"
        for cost in report.losses
    )
    figures = report.to_json()
    return (
        f"{'equal' if report.passed else 'DIFFERENT'}: stopped after steps {at}; "
        f"{figures['mismatching_variables']} of {figures['variables']} variables differ, "
        f"{figures['steps_repeated_noticed']} steps repeated after notices, "
        f"{figures['steps_repeated_killed']} after kills"
    )


if __name__ == "__main__":
    sys.exit(main())
