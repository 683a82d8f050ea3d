"""Checks and measures hashkit on a GPU with one command, within eight minutes.

    python tests/gpu/check.py --data-root cifar10-jpeg.tar.gz --wheels wheels/ --out gpu-check
    python tests/gpu/check.py --device cpu --out cpu-check
    python tests/gpu/check.py --write-docs gpu-check/result.json

Nothing has to be installed, and no network is needed: the package is linked from this repository,
and wheels are unpacked. Each stage runs in its own process, with a time limit, and writes each
figure as soon as it is measured. The plan for eight minutes, in seconds on one GPU and 16 cores
(estimates):

    prepare              20    wheels joined and unpacked, images unpacked
    machine              15    driver, GPU, versions, missing packages, build of ONNX Runtime
    speed-best           45    four times 5 rounds of 0.6 s, and the first use of each kernel
    speed-pretrained     60    the same at 224 pixels; 5,000 images are resized first
    resume               50    2 precisions x 3 runs of 80 steps; one process is killed
    export-best          40    8 epochs, torch's exporter, comparison with torch
    encode-torch         15    10,000 images in torch
    encode-best          35    10,000 images in both profiles and on the CPU
    pipeline             25    20,000 files, four rounds of decoder, pipeline and model
    tensorrt              5    up to 60 if its libraries are installed: it builds an engine
    tests                60    the tests marked gpu
    training            100    60,000 images decoded, 100 epochs, 13 evaluations of mAP
                        ---
                        470
    export-pretrained    60    if time is left
    encode-pretrained    30    if time is left

A stage gets the remaining time, up to its limit; a stage that needs more is skipped. The training
stops after five minutes, or when the time is over.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpucheck.page import write_page
from gpucheck.plan import STAGES
from gpucheck.record import write_json
from gpucheck.running import Outcome, Stage, run_stages
from gpucheck.settings import ROOT, Settings
from gpucheck.table import summary_table, tables


def main(arguments: Sequence[str] | None = None, stages: Sequence[Stage] = STAGES) -> int:
    """Run the check; returns the exit code: 1 if a check failed, 130 after Ctrl-C."""
    options = _parser(stages).parse_args(arguments)
    if options.write_docs is not None:
        write_page(ROOT / "docs", Path(options.write_docs) if options.write_docs else None)
        return 0
    names = options.stages.split(",") if options.stages else [stage.name for stage in stages]
    known = [stage.name for stage in stages]
    if unknown := set(names) - set(known):
        print(f"unknown stage {min(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    out = Path(options.out).absolute()
    work = Path(options.work).absolute() if options.work else out / "work"
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        device=options.device,
        out=str(out),
        work=str(work),
        data=_absolute(options.data_root),
        weights=_absolute(options.weights),
        wheels=_absolute(options.wheels),
    )
    return _run(settings, stages, names, 60 * options.minutes, options.again)


def _run(
    settings: Settings, stages: Sequence[Stage], names: Sequence[str], seconds: float, again: bool
) -> int:
    started = time.monotonic()
    outcomes: list[Outcome] = []
    (Path(settings.out) / "failures.log").unlink(missing_ok=True)

    def begin(stage: Stage, allowed: float) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {stage.name}: {stage.about}, "
              f"{allowed:.0f} s at most", flush=True)  # fmt: skip

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        _save(settings, outcomes, time.monotonic() - started)
        kept = ", kept from an earlier run" if outcome.was_kept else ""
        reason = outcome.record["reason"]
        print(f"[{time.monotonic() - started:5.0f} s] {outcome.stage.name}: {outcome.status}"
              f"{kept}{': ' if reason else ''}{reason}", flush=True)  # fmt: skip

    was_interrupted = False
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        run_stages(
            stages,
            settings,
            seconds=seconds,
            names=names,
            again=again,
            on_begin=begin,
            on_end=end,
        )
    except KeyboardInterrupt:
        was_interrupted = True
        print("interrupted: finished stages are kept", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, before)
    result = _save(settings, outcomes, time.monotonic() - started)
    print(f"\n{_as_markdown(result)}")
    print(f"{settings.out}: result.json, result.md")
    if was_interrupted:
        return 130
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _save(settings: Settings, outcomes: Sequence[Outcome], seconds: float) -> dict[str, object]:
    """Write result.json, result.md and the logs of failed stages."""
    result: dict[str, object] = {
        "format": 1,
        "device": settings.device,
        "is_small": settings.is_small,
        "seconds": round(seconds, 1),
        "stages": [outcome.to_dict() for outcome in outcomes],
    }
    out = Path(settings.out)
    write_json(out / "result.json", result)
    (out / "result.md").write_text(_as_markdown(result), encoding="utf-8")
    failed = [outcome.stage.name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        with (out / "failures.log").open("w", encoding="utf-8") as log:
            for name in failed:
                path = settings.work_path / "logs" / f"{name}.log"
                text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
                log.write(f"== {name}\n{text[-200_000:]}\n")
    return result


def _as_markdown(result: Mapping[str, Any]) -> str:
    """The tables; figures that do not fit into them must not end the stages that follow."""
    try:
        return f"{summary_table(result)}\n{tables(result)}"
    except Exception:
        return f"The tables cannot be made of result.json:\n\n{traceback.format_exc()}"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _parser(stages: Sequence[Stage]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"stages: {', '.join(stage.name for stage in stages)}",
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--data-root", help="CIFAR-10 as JPEG files: a folder or a .tar.gz")
    parser.add_argument("--weights", help="weights of EfficientNet-Lite0: a file, folder or wheel")
    parser.add_argument("--wheels", help="folder of wheels, complete or in parts")
    parser.add_argument("--out", default="gpu-check", help="folder of the results")
    parser.add_argument("--work", help="folder for all other files (default: OUT/work)")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all stages")
    parser.add_argument("--stages", help="run only these stages, separated by commas")
    parser.add_argument("--again", action="store_true", help="also run finished stages again")
    parser.add_argument(
        "--write-docs",
        nargs="?",
        const="",
        metavar="RESULT",
        help="write docs/gpu.md from a result, or from the stored one, and exit",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
