"""Reads the metadata of stored NeXus files: the first plug-in consumer, and the pattern for others."""
