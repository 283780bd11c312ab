"""What the station says: finished versions, omissions, and that it is alive."""
