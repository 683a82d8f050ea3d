"""Multi-index hashing: exact search with tables of substrings of the codes."""
