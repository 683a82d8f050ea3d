"""Compiled inner loops: search, histograms and multi-index hashing, in Numba.

Nothing outside this folder imports Numba, and whoever uses a kernel imports its module inside a
function: loading Numba and compiled code takes a third of a second, which a small job never spends.
"""
