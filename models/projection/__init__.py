"""What a chip would do with a language model: time of a step in three layers that are never mixed."""
