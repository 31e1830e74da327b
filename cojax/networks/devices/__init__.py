"""Which device holds which rows of a network."""
