"""The command `cojax`: plans read, run, judged and reported; nothing in the library imports from here."""
