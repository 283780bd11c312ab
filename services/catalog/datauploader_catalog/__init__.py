"""Makes investigations, datasets and datafiles exist in the user-office system, exactly once."""
