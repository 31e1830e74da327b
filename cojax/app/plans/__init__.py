"""What a plan file says."""
