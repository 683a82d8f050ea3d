"""Search of code databases by Hamming distance."""
