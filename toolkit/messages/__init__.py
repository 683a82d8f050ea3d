"""Text that reaches people: messages of other libraries and of the system, as one safe line."""
