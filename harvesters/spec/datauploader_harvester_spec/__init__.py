"""Reads the metadata of the files that the program spec writes."""
