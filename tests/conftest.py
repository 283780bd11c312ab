"""What every ring of tests shares: the private servers, and the books of faults and of attacks."""

pytest_plugins = ["datauploader_testing.plugin", "datauploader_sandbox.campaign", "datauploader_sandbox.attacks"]
