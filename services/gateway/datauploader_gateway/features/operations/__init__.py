"""What operators see of the whole facility, and what they can do about parked messages."""
