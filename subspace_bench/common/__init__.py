"""What every room needs and that knows nothing of them: errors, random streams, hardware, files,
formatting, checks of input.
"""
