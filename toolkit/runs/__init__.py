"""The run folder, and the settings that it keeps."""
