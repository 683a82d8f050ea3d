"""Frozen features: embedders, features kept on disk, and heads that turn them into logits."""
