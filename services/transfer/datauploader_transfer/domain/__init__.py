"""What the transfer service decides, without a clock, a disk or a network."""
