"""Compiled inner loops: search, histograms and multi-index hashing, in Numba.

Nothing outside this folder imports Numba, and whoever uses a kernel imports its module inside a
function or in a module that is itself imported there: loading Numba and compiled code takes a
third of a second, which importing hashkit, or a small search, never spends.
"""
