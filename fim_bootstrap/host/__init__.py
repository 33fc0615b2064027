"""The machine: everything that is read from it, run on it or written to it goes through here."""
