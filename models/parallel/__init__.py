"""How a model is spread over chips: partitionings, what fits, and what the chips say to one another."""
