"""The REST interface, one module a noun."""
