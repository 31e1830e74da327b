"""What the command writes and prints."""
