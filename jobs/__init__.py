"""What can be asked: one file for each kind of work, a typed message and a function."""
