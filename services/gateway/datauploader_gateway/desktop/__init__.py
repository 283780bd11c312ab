"""The whole system on one workstation: asked once what it needs, then run in one process until it is quit."""
