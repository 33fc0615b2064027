"""A fleet: what thousands of reports say together. Reads files alone; nothing here looks at the host it runs on."""
