"""The loop, its records, endings, pieces, checkpoints and sweeps."""
