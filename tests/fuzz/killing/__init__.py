"""Kills commands that write, at random moments, and checks what they leave."""
