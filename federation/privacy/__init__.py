"""Privacy mechanisms, flat: no part imports another. `guarantee` couples them and alone states what they promise."""
