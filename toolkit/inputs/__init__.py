"""Values from outside, files and arguments, turned into checked values: one kind per file."""
