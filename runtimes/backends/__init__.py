"""Models in each runtime, a file each."""
