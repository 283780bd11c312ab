"""Everything of the transfer service that touches a technology."""
