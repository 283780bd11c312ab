"""Work beside the loop: local copies that may go, and what was forgotten on either side."""
