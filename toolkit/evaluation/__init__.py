"""Evaluate retrieval: from codes and labels to a report."""
