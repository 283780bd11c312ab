"""Signing in and out, and tokens for programs."""
