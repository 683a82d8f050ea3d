"""One stage a file: each has ``run(record, settings)`` and runs in a process of its own."""
