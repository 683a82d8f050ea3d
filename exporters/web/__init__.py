"""Export a search page as a folder of static files: the model, a bank, and scripts."""
