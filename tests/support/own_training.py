"""A training of a network from outside hashkit, which takes a second."""

from __future__ import annotations

import own_network

OWN = f"module:{own_network.__file__}:OwnNetwork"
FEW = {"network": OWN, "bits": 8, "size": 8, "steps": 3, "batch_size": 12, "device": "cpu"}
"""A training that takes a second."""
