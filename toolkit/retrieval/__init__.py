"""Searching databases of codes by Hamming distance."""
