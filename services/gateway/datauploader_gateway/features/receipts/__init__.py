"""What people get in the end: which files are proven to be where, and how anybody can check it."""
