"""Executors of programs: the reference, one instruction at a time, and the compiled form, one XLA program."""
