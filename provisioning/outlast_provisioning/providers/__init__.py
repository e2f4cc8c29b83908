"""Where machines come from, one file for each cloud."""
