"""The projection: what events come to, kept in Redis for people to look at."""
