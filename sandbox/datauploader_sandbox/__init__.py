"""A facility in a box: everything that DataUploader meets at a facility, on loopback, for trials and tests."""
