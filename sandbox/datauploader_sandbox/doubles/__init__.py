"""What the doubles of catalogues have in common: how they run, and how they fail on demand."""
