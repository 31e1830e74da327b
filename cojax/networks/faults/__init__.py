"""What may happen to messages, links and nodes."""
