"""As torch_xla.core."""
