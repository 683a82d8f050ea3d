"""Running exported models: sessions, the encoder, the encode pipeline; never imports torch."""

import os

__all__ = ()

# When ONNX Runtime is imported, it looks up a host of its maker, and stores an identity in the
# user's home folder. To allow that, set the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
