"""Moves finished file versions with rclone and proves what arrived."""
