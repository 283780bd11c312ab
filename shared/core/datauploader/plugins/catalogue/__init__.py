"""A catalogue as a plug-in: the port, its errors, and what every adapter needs to keep the promises of the port."""
