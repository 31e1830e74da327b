"""Data sets, graphs and tables, from files too."""
