"""What the Python fuzzer feeds, and what has to hold for any bytes."""
