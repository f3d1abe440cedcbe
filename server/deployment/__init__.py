"""A coordinator on a real network: its settings, the partners that are enrolled, the edge, and the processes behind it."""
