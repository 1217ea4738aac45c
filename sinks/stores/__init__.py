"""The tables that workers write and read back."""
