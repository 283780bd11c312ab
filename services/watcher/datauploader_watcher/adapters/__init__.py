"""Where the watcher touches the machine: disk, mounts, file-system events, reading and hashing."""
