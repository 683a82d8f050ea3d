"""Embedders from the EfficientNet-Lite networks, with their weights."""
