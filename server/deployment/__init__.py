"""A coordinator on a real network: its settings, who is enrolled, the edge, and the processes behind it."""
