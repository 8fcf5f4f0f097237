"""The timeline beside published measurements: rebuilt kernels, signed errors, means, and what was fitted."""
