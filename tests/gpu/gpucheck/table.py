"""Markdown tables of a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["summary_table", "tables"]

Figures = Mapping[str, Any]


def summary_table(result: Figures) -> str:
    """Table with a row for each stage and each failed check."""
    lines = ["| stage | outcome | seconds | details |", "| --- | --- | ---: | --- |"]
    for stage in result["stages"]:
        what = stage["reason"] or _headline(stage) or stage["about"]
        lines.append(_row(stage["name"], stage["status"], f"{stage['seconds']:.0f}", what))
        for check in stage["checks"]:
            if not check["passed"]:
                lines.append(_row("", "failed", "", f"{check['name']}: {check['detail']}"))
    return "\n".join(lines) + "\n"


def tables(result: Figures) -> str:
    """Tables of the main figures, one section per subject; missing figures are left out."""
    figures = {stage["name"]: stage["figures"] for stage in result["stages"]}
    sections = [
        ("Training loop", _speed(figures)),
        ("Resumed and repeated runs", _resume(figures.get("resume", {}))),
        ("Export", _export(figures)),
        ("Encoding", _encode(figures)),
        ("Image files to a bank", _pipeline(figures.get("pipeline", {}))),
        ("mAP over seconds of training", _curve(figures.get("training", {}))),
    ]
    return "\n".join(f"## {title}\n\n{text}" for title, text in sections if text)


def _speed(figures: Figures) -> str:
    lines = []
    for stage in ("speed-best", "speed-pretrained"):
        own = figures.get(stage, {})
        for precision in ("bf16", "fp32"):
            if precision not in own:
                continue
            one, waits = own[precision], own.get(f"{precision}_waits", {})
            idle = own.get(f"{precision}_idle", {}).get("share")
            lines.append(
                _row(
                    stage.removeprefix("speed-"),
                    precision,
                    f"{one['images']}, {one['batch_size']}",
                    f"{one['images_per_second_loop']:,.0f}",
                    f"{one['images_per_second_bare']:,.0f}",
                    f"{one['images_per_second_passes']:,.0f}",
                    f"{one['share_of_bare']:.1%}",
                    _or_dash(waits.get("per_step"), "{:.2f}"),
                    _or_dash(idle, "{:.1%}"),
                )
            )
    head = (
        "recipe",
        "precision",
        "images, batch",
        "loop, images/s",
        "bare, images/s",
        "forward and backward, images/s",
        "loop / bare",
        "waits for the GPU per step",
        "GPU idle",
    )
    return _table(head, lines)


def _resume(figures: Figures) -> str:
    lines = [
        _row(precision, what, _difference(figures[precision][key]))
        for precision in ("bf16", "fp32")
        if precision in figures
        for what, key in (("killed and resumed", "resumed"), ("same seed again", "same_seed"))
    ]
    return _table(("precision", "run", "compared with the uninterrupted run"), lines)


def _difference(one: Figures) -> str:
    if one["is_bit_equal"]:
        return f"all {one['n_tensors']} tensors equal bit for bit"
    return (
        f"{one['n_tensors_that_differ']} of {one['n_tensors']} tensors differ, "
        f"by at most {one['largest_difference']:.1e}"
    )


def _export(figures: Figures) -> str:
    lines = []
    for stage in ("export-best", "export-pretrained"):
        for key, name in (("parity", "CPU"), ("parity_on_cuda", "CUDA")):
            one = figures.get(stage, {}).get(key)
            if not isinstance(one, dict):
                continue
            # None stands for a difference that is not finite: the model answered NaN.
            differences = (one["largest_difference"], one["largest_batch_difference"])
            worst = None if None in differences else max(differences)
            lines.append(
                _row(
                    stage.removeprefix("export-"),
                    name,
                    one["n_images"],
                    _or_dash(worst, "{:.1e}"),
                    _or_dash(one["tolerance"], "{:.1e}"),
                    one["n_flipped_bits"],
                )
            )
    head = (
        "recipe",
        "ONNX Runtime on",
        "images",
        "largest logit difference",
        "allowed",
        "bits flipped",
    )
    return _table(head, lines)


def _encode(figures: Figures) -> str:
    lines = []
    of_torch = figures.get("encode-torch", {})
    for stage in ("encode-best", "encode-pretrained"):
        own = figures.get(stage, {})
        for profile in ("exact", "fast"):
            if profile not in own:
                continue
            one, bits = own[profile], own.get(f"{profile}_beside_cpu", {})
            torch_rate = of_torch.get(f"images_per_second_{profile}")
            lines.append(
                _row(
                    stage.removeprefix("encode-"),
                    f"{one['provider'].removesuffix('ExecutionProvider')}, {profile}",
                    f"{one['images_per_second']:,.0f}",
                    f"{one['images_per_second_bare']:,.0f}",
                    _or_dash(torch_rate if stage == "encode-best" else None, "{:,.0f}"),
                    _or_dash(bits.get("flips_per_million_bits"), "{:.1f}"),
                    _or_dash(bits.get("largest_flipped_logit"), "{:.1e}"),
                )
            )
    own = figures.get("tensorrt", {})
    if "beside_cpu" in own:
        bits = own["beside_cpu"]
        lines.append(
            _row(
                "best",
                "TensorRT",
                f"{own['images_per_second']:,.0f}",
                "—",
                "—",
                f"{bits['flips_per_million_bits']:.1f}",
                f"{bits['largest_flipped_logit']:.1e}",
            )
        )
    head = (
        "recipe",
        "provider, profile",
        "encoder, images/s",
        "bare session, images/s",
        "torch, images/s",
        "bits flipped per million",
        "largest flipped logit",
    )
    return _table(head, lines)


def _pipeline(figures: Figures) -> str:
    if "images_per_second" not in figures:
        return ""
    rates = figures["images_per_second"]
    line = _row(
        f"{figures['images']['files']:,}",
        figures["workers"],
        *(f"{rates[name]:,.0f}" for name in ("pipeline", "decoder", "model")),
        f"{figures['share_of_decoder']:.1%}",
    )
    head = (
        "files",
        "decoding threads",
        "files to a bank, images/s",
        "decoder alone, images/s",
        "model alone, images/s",
        "pipeline / decoder",
    )
    return _table(head, [line])


def _curve(figures: Figures) -> str:
    curve = figures.get("curve", [])
    if not curve:
        return ""
    lengths = list(curve[0]["map"])
    lines = [
        _row(
            f"{row['epoch']:g}",
            f"{row['seconds']:.1f}",
            *(f"{row['map'][length]:.3f}" for length in lengths),
        )
        for row in curve
    ]
    text = _table(("epoch", "seconds", *(f"{length} bits" for length in lengths)), lines)
    result = figures.get("result", {})
    if result.get("seconds_to_goal") is not None:
        text += f"\nmAP {result['goal']} was reached after {result['seconds_to_goal']:.0f} s.\n"
    if "cut" in figures:
        text += f"\nThe training was stopped early: {figures['cut']}.\n"
    return text


def _headline(stage: Figures) -> str:
    """The most important figure of a stage."""
    make: dict[str, Callable[[Figures], str]] = {
        "machine": lambda f: f["torch"].get("gpu") or f["cpu"]["name"],
        "speed-best": _shares,
        "speed-pretrained": _shares,
        "resume": lambda f: f"resumed: {_difference((f.get('bf16') or f['fp32'])['resumed'])}",
        "export-best": lambda f: (
            f"largest logit difference {f['parity']['largest_difference']:.1e}"
        ),
        "encode-best": lambda f: f"{f['exact']['images_per_second']:,.0f} images/s",
        "pipeline": lambda f: f"{f['images_per_second']['pipeline']:,.0f} images/s",
        "tests": lambda f: ", ".join(f"{n} {name}" for name, n in f["outcomes"].items()),
        "training": lambda f: (
            f"mAP {f['result']['map_last']['48']:.3f} after {f['result']['training_seconds']:.0f} s"
        ),
    }
    try:
        return make[stage["name"]](stage["figures"])
    except (KeyError, TypeError, IndexError):
        return ""


def _shares(figures: Figures) -> str:
    shares = [
        f"{precision} {figures[precision]['share_of_bare']:.1%}"
        for precision in ("bf16", "fp32")
        if precision in figures
    ]
    return f"of the bare network: {', '.join(shares)}" if shares else ""


def _or_dash(value: Any, form: str) -> str:
    return "—" if value is None else form.format(value)


def _table(head: tuple[str, ...], lines: list[str]) -> str:
    if not lines:
        return ""
    rule = "| " + " | ".join("---" for _ in head) + " |"
    return "\n".join([_row(*head), rule, *lines]) + "\n"


def _row(*cells: Any) -> str:
    return (
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    )
