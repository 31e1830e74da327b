"""From a plan to a problem, a network, a method and a start."""
