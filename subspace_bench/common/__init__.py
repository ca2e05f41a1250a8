"""Utilities that import no other subpackage: errors, random streams, hardware, files, formatting,
validation of input.
"""
