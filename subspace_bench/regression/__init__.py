"""Has accuracy moved? New runs against a reference, with stated error rates."""
