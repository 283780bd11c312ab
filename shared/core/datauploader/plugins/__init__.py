"""What third parties plug in: metadata harvesters and readers of files."""
