"""From a checkpoint to a model file, and the proof that both answer alike."""
