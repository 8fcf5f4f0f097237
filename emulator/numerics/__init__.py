"""Pure functions on arrays: casts, operators, folds, activations, and the microscaled formats."""
