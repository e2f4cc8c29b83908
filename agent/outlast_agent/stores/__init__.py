"""Durable stores, one file each, behind one interface."""
