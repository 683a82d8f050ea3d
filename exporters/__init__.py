"""Export checkpoints as model files, verify that their outputs agree, and compare models."""
