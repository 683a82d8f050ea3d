"""Export checkpoints as model files, verify that their outputs agree, and compare models."""

import hashkit.runtimes  # noqa: F401 - before anything here imports ONNX Runtime
