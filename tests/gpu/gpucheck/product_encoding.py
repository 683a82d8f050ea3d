"""All imports from hashkit's runtimes."""

from __future__ import annotations

from hashkit.datasets.decoding import decode_batches
from hashkit.exporters.parity import allowed_difference
from hashkit.runtimes.answers import Answers, answers_of
from hashkit.runtimes.backends.onnxruntime_session import create_session, cuda_options
from hashkit.runtimes.cuda import why_no_cuda
from hashkit.runtimes.encoder import Encoder, default_batch_size
from hashkit.runtimes.health import check_runtimes
from hashkit.runtimes.pipeline import encode_to_bank
from hashkit.runtimes.protocol import RUNTIMES
from hashkit.threads import available_cpus

__all__ = [
    "RUNTIMES",
    "Answers",
    "Encoder",
    "allowed_difference",
    "answers_of",
    "available_cpus",
    "check_runtimes",
    "create_session",
    "cuda_options",
    "decode_batches",
    "default_batch_size",
    "encode_to_bank",
    "why_no_cuda",
]
