"""Everything that is ever done to a host: each change, its entry in the journal, and what takes it back."""
