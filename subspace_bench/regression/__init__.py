"""Has accuracy changed? New seeds against a reference distribution, at a stated error rate."""

FIRST_SEED = 1_000_000  # of a check; references use smaller seeds
