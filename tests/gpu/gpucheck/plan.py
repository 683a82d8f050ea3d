"""The stages, most important first."""

from __future__ import annotations

from gpucheck.running import Stage

__all__ = ["STAGES"]


def _stage(
    name: str, module: str, about: str, expected: float, least: float, limit: float
) -> Stage:
    module = f"gpucheck.stages.{module}"
    return Stage(name, about, module, expected, least, limit, prepares=name == "prepare")


STAGES = (
    _stage("prepare", "prepare", "package, wheels and images prepared", 20, 1, 90),
    _stage("machine", "machine", "driver, GPU, versions, missing packages", 15, 5, 60),
    _stage("speed-best", "speed_best", "best: training loop and bare network", 45, 20, 90),
    _stage(
        "speed-pretrained",
        "speed_pretrained",
        "pretrained at 224 pixels: loop and bare network",
        60,
        25,
        110,
    ),
    _stage("resume", "resume", "kill and resume, equal seeds, missing devices", 50, 25, 90),
    _stage("export-best", "export_best", "best: training and export", 40, 25, 90),
    _stage("encode-torch", "encode_torch", "encoding with torch, for comparison", 15, 10, 45),
    _stage("encode-best", "encode_best", "encoding with ONNX Runtime", 35, 15, 80),
    _stage("pipeline", "pipeline", "image files to a bank", 25, 10, 60),
    _stage("tensorrt", "tensorrt", "encoding with TensorRT", 5, 5, 60),
    _stage("tests", "gpu_tests", "the tests marked gpu", 60, 20, 120),
    _stage("training", "long_training", "100 epochs of best: mAP over time", 100, 45, 380),
    _stage(
        "export-pretrained",
        "export_pretrained",
        "pretrained at 224 pixels: training and export",
        60,
        40,
        110,
    ),
    _stage(
        "encode-pretrained",
        "encode_pretrained",
        "pretrained: encoding with ONNX Runtime",
        30,
        20,
        80,
    ),
)
"""With expected (estimated), minimal and maximal seconds of each."""
