"""Memory, time and distortion of projectors, measured case by case, for `compare`."""
