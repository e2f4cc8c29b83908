"""`outlast.Resume`: bit-exact resume of `model.fit`, in the middle of an epoch."""
