"""Reads damaged files of every format; anything but a value or an error line is a finding."""
