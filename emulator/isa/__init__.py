"""The instruction catalogue: one decorated function per instruction, facts in the decorator, meaning in the body."""
