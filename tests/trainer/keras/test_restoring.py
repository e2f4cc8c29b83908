"""What was saved comes back into the variables' own memory, and nothing else changes."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["in_their_own_memory", "altered_while_restoring"])
def test_in_a_process_of_its_own(scripts, name) -> None:
    scripts.run(f"restore_scripts:{name}")
