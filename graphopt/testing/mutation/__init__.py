"""Testing the testers: rules with a mistake put in, which the generated tests must find."""
