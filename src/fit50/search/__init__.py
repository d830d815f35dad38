"""Which candidates there are, which of them are worth offering, and which one is chosen."""
