"""A search page as a folder of static files: the model, a bank, and the code that runs them."""
