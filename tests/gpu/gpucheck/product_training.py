"""All imports from hashkit's training and export, which need torch."""

from __future__ import annotations

from hashkit.exporters.onnx_export import export_onnx
from hashkit.exporters.parity import verify
from hashkit.exporters.torch_model import ModuleSource
from hashkit.runs.config import TrainConfig
from hashkit.training.checkpoint import load_model, read_checkpoint
from hashkit.training.data import TrainingData
from hashkit.training.devices import choose_device, repeatable_kernels
from hashkit.training.learner import Learner
from hashkit.training.optimisers import build_optimiser
from hashkit.training.prepare import prepare_labelled
from hashkit.training.trainer import Trainer
from hashkit.workflow.settings import make_config

__all__ = [
    "Learner",
    "ModuleSource",
    "TrainConfig",
    "Trainer",
    "TrainingData",
    "build_optimiser",
    "choose_device",
    "export_onnx",
    "load_model",
    "make_config",
    "prepare_labelled",
    "read_checkpoint",
    "repeatable_kernels",
    "verify",
]
