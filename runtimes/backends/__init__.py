"""Models in each runtime, one file per runtime."""
