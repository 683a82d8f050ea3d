"""Embedders from ONNX files of other programs."""
