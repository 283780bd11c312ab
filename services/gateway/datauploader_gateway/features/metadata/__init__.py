"""What harvesters have read in the files of an upload, and pictures of them."""
