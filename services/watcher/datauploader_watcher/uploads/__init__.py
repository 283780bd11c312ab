"""An upload from its request to its seal: admitted, open, looked at again, closed."""
