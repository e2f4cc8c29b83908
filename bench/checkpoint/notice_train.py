"""Trains the model of a size until a notice stops it."""

from __future__ import annotations

import sys

import models

import outlast


def main(size: str) -> None:
    models.model(size).fit(
        models.batches(size, 1 << 20), verbose=0, callbacks=[outlast.Resume(every=10)]
    )


if __name__ == "__main__":
    main(sys.argv[1])
