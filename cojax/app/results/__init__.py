"""What the command computes."""
