"""The common ground of all DataUploader services: what is said, how it travels, what is remembered."""
