"""One pass over a sample: batches, keys, devices, memory, and models as functions of a batch."""
