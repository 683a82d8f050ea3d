"""Models in runtimes, measured side by side."""
