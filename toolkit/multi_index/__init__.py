"""Multi-index hashing: exact search through tables of substrings of the codes."""
