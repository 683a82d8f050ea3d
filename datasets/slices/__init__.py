"""Image lists of any length, cut into slices as files, so that no worker holds the whole list."""
