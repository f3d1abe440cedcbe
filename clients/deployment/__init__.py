"""A partner's node on a real network: joining, the gate before it, and the processes that it is made of."""
