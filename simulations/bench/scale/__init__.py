"""How time and memory grow with records and with partners, and how fast rounds are beside Flower's engine."""
