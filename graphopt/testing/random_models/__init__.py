"""Random models: valid graphs over all operators, with what rules look for put in on purpose."""
