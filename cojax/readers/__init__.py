"""Strict readers of files from elsewhere: sizes are bounded, and nothing in a file is ever executed."""
