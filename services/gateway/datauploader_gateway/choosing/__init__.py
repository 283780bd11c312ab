"""Choosing what to upload: what a person has put together so far, and the requests that it becomes."""
