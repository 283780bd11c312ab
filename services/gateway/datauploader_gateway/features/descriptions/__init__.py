"""What is said about a dataset."""
