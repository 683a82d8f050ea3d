"""The check of hashkit on a GPU: stages, what runs them, and what is made of their figures."""
