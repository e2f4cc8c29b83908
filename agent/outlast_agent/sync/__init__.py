"""Between scratch and the store: what is whole here becomes durable there, and back."""
