"""Rules that write the form which runtimes run best, in standard operators."""
