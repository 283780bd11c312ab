"""The mover over rclone."""
