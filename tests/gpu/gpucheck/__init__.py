"""The check of hashkit on a GPU: its stages, their runner, and the tables of their figures."""
