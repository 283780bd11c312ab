"""Mail to people about their uploads."""
