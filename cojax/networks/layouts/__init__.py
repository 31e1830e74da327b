"""How a graph is stored, and how flows are summed over it."""
