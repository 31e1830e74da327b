"""What is minimised: costs, penalties, batches, changes, and who is there."""
