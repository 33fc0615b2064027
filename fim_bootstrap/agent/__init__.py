"""The vendor's agent: all that is the vendor's stands in this room."""
