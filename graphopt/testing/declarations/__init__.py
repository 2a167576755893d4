"""From a rule's declaration to models in which it should fire."""
