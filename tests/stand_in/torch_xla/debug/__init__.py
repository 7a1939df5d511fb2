"""As torch_xla.debug."""
