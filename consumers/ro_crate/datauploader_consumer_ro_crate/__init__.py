"""Writes an RO-Crate of each complete dataset into a folder: a consumer that asks the gateway."""
