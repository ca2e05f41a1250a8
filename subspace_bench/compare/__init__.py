"""`subspace-bench compare`: what every projector costs at every size, measured on this machine."""
