"""Who hears whom, over what, with which faults, on which devices."""
