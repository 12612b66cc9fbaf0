"""What the emulator serves, one module per surface: each gives its operations over the same state."""
