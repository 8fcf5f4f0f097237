"""What a timeline means: how full the memories are, how near each unit is to its peak, what would make it shorter."""
