"""Reads damaged files of every format until stopped, and reports all that is not an error line.

    python tests/fuzz/fuzz.py                          # continues where it stopped
    python tests/fuzz/fuzz.py --minutes 1              # the same cases each time, as CI does
    python tests/fuzz/fuzz.py --format npz --case 123456

A case is a number: the damage follows from it and from the format. Each case may end in two ways:
the reader returns a value that can be used, or raises a `HashkitError` of one line without control
characters. Everything else is a finding: another exception, a warning, output, a crash, more than
20 seconds, or an address space that grows by more than 4 GiB. Findings are lines of findings.jsonl.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzzing.campaign import Campaign, installed
from fuzzing.catalogue import FORMATS, SUBJECTS
from fuzzing.subject import mutated
from fuzzing.worker import run_case, serve, workspace

ROOT = Path(__file__).resolve().parents[2]
CASES_PER_MINUTE = 600
"""Cases of a usual format that ``--minutes 1`` runs: the same on all machines."""


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--format", action="append", choices=tuple(SUBJECTS), help="by default all")
    parser.add_argument("--case", type=int, help="run one case, and show what happens")
    parser.add_argument(
        "--minutes", type=float, help="minutes at most, from case 0 on, without keeping a state"
    )
    parser.add_argument("--cases", type=int, help="cases of a usual format, in all")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "fuzz")
    parser.add_argument("--worker", nargs=2, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> int:
    options = parsed()
    if options.worker:
        serve(*options.worker)
        return 0
    if options.case is not None:
        (name,) = options.format or ("?",)
        return show(name, options.case, options.folder)
    formats = installed(options.format or FORMATS)
    is_fixed = options.minutes is not None
    campaign = Campaign(options.folder, formats, continues=not is_fixed)
    n_cases = options.cases
    if is_fixed and n_cases is None:
        n_cases = round(CASES_PER_MINUTE * options.minutes)
    seconds = 60 * options.minutes if is_fixed else None
    try:
        n_found = campaign.run(seconds=seconds, n_cases=n_cases, n_workers=options.workers)
    except KeyboardInterrupt:
        n_found = 0
        print("stopped; the same command continues", file=sys.stderr)
    print(campaign.table())
    return 1 if n_found else 0


def show(name: str, case: int, kept_in: Path) -> int:
    """Run one case in this process; print its file, which is kept, and what happened."""
    folder = workspace()
    subject = SUBJECTS[name](folder)
    rng = random.Random(f"{name} {case}")
    data = mutated(subject, rng)
    kept = kept_in / "cases" / f"{name}-{case}{subject.path.suffix}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    print(f"{kept}: {len(data)} bytes", flush=True)
    outcome, finding = run_case(subject, name, case, [])
    if finding is not None:
        print(finding["kind"], finding["text"], sep="\n")
        return 1
    subject.path.write_bytes(data)
    try:
        subject.read(subject.path, rng)
    except Exception as error:
        traceback.print_exception(error, limit=0)
    print(outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
