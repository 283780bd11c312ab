"""Mail to people: when their dataset is complete, and when their upload needs them."""
