"""Where a run's folder is kept when that is an object store, and what its checkpoints say."""
