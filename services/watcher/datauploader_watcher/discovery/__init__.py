"""Finding out what lies in the folders of an upload, and what has changed there."""
