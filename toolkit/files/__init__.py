"""Files are written whole or not at all, and under private names until then."""
