"""Evaluations and benchmarks as HTML pages, tables and pictures."""
