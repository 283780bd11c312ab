"""Events and questions: what the gateway consumes, what it publishes, and what waits for an answer."""
