"""The coordinator's side: it sees noisy sums and public constants, and turns them into a signed release."""
