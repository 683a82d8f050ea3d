"""Measure and compare models in several runtimes."""
