"""Has accuracy moved? New runs against a reference, with stated error rates."""

FIRST_SEED = 1_000_000  # of the new numbers: none that a reference has
