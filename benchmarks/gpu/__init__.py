"""Everything that a GPU is to be measured for, in one command that resumes: see docs/gpu.md."""
