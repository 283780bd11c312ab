"""The gateway: the one door for people; it never touches the files."""
