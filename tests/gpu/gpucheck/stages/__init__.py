"""One stage per file, with a function ``run(record, settings)`` that runs in its own process."""
