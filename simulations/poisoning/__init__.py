"""Partners that lie in training: what they can send, and what becomes of the model under each rule."""
