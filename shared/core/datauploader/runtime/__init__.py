"""What is true of every process: configuration, logs, the services in it, checks, health, copies of its state."""
