"""The job model, its store in MongoDB and its index in Redis."""
