"""The package managers: ask them, install with them, wait for their locks, and tell why they fail."""
