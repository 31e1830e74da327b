"""What every floor stands on: checks, the exact grid, precision, prints and trees."""
