"""A collection of images that is kept: what changes in its folder, and duplicates."""
