"""How soon the operations page names the cause of a fault, and which alert tells of it: `./dev causes`."""
