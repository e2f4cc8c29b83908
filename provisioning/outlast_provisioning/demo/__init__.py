"""The demo: one training job loses its machine four times and ends with the same bits."""
