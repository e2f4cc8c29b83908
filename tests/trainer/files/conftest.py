from __future__ import annotations

from trainer.exactness.fixtures import forks, twins

__all__ = ["forks", "twins"]
