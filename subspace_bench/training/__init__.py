"""Trains runs: the loop, checkpoints, worker processes and executors."""
