"""What an edge does to the messages that travel along it."""
