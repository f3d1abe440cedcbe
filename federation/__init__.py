"""What every side shares: the plan, the record schema, encoders, the model and the privacy mechanisms."""
