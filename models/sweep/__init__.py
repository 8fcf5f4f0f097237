"""Many operating points at once: models x chips x precisions x partitionings x batches x contexts, as a table."""
