"""Files of other people, opened and named with care: no link leads elsewhere, on Linux and on Windows."""
