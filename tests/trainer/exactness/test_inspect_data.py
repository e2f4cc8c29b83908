from __future__ import annotations

import json
from pathlib import Path

from outlast.keras_fit.inspect_data import findings
from outlast.keras_fit.survey_data import Cache, Shuffle, Survey
from trainer.exactness.forks import Forks


def codes(found: Survey) -> dict[str, bool]:
    return {finding.code: finding.exact for finding in findings(found)}


def test_what_is_found_in_real_pipelines(forks: Forks, tmp_path: Path) -> None:
    result = tmp_path / "found.json"
    done = forks.run(
        "trainer.exactness.scripts.pipelines:main",
        {"result": str(result)},
        folder=tmp_path,
        log=tmp_path / "log.txt",
    )
    assert done.code == 0, done.log
    found = json.loads(result.read_text())
    assert found["unseeded"] == {
        "shuffle": ["shuffle-unseeded"],
        "nested": ["shuffle-unseeded"],
        "random": ["shuffle-unseeded"],
        "sampled": ["shuffle-unseeded"],
        "own seed": [],
        "nested own seed": [],
    }
    assert found["seeded"] == {
        "one shuffle": [],
        "nested": [],
        "sampled": [],
        "many kinds": [],
        "records": [],
        "parallel map": [],
        "repeat before": [],
        "repeat once": [],
        "fixed order repeated": [],
        "two": ["shuffle-chain"],
        "two, one fixed": [],
        "listed": ["shuffle-chain"],
        "listed in order": [],
        "repeat after": ["shuffle-repeat"],
        "generator": ["generator"],
        "python": ["py-function"],
        "random map": ["random-map"],
        "parallel random map": ["random-map"],
        "random filter": ["random-map"],
        "layer in map": ["stateful-map"],
        "variable in map": ["variable-map"],
        "undetermined map": ["order-undetermined"],
        "undetermined interleave": ["order-undetermined"],
        "undetermined by options": ["order-undetermined"],
        "large shuffle": ["shuffle-large"],
        "large shuffle of few": [],
        "large cache": ["cache-large"],
        "cache in a file": ["cache-file"],
    }


def test_nothing_found_is_nothing_told() -> None:
    assert codes(Survey(shuffles=[Shuffle(True, 100, 8)], caches=[Cache(False, 800)])) == {}


def test_a_cost_is_told_as_exact() -> None:
    large = Survey(shuffles=[Shuffle(True, 1 << 20, 4096)], caches=[Cache(False, 1 << 30)])
    assert codes(large) == {"shuffle-large": True, "cache-large": True}
    texts = " ".join(finding.text for finding in findings(large))
    assert "4.0 GiB" in texts
    assert "1.0 GiB" in texts


def test_list_files_is_named_in_a_chain() -> None:
    chain = [Shuffle(True, 4, None), Shuffle(True, 100, 8)]
    (with_files,) = findings(Survey(shuffles=chain, files=True))
    (without,) = findings(Survey(shuffles=chain))
    assert "list_files shuffle=False" in with_files.text
    assert "list_files" not in without.text


def test_a_parallel_random_map_is_told_apart() -> None:
    (parallel,) = findings(Survey(random_ops={"RandomUniform"}, parallel_random=True))
    (single,) = findings(Survey(random_ops={"RandomUniform"}))
    assert "two uninterrupted runs differ" in parallel.text
    assert "two uninterrupted runs differ" not in single.text


def test_every_finding_says_what_to_write_or_what_it_costs() -> None:
    everything = Survey(
        shuffles=[Shuffle(False, 1 << 20, 4096, repeated=True), Shuffle(True, 10, 8)],
        caches=[Cache(True, None), Cache(False, 1 << 30)],
        random_ops={"RandomUniform"},
        python_ops={"PyFunc"},
        changes_variables=True,
        undetermined=True,
        unknown={"SomeDataset"},
    )
    found = findings(everything)
    assert len({finding.code for finding in found}) == 11
    for finding in found:
        assert "; " in finding.text or ": " in finding.text
        assert not finding.text.endswith(".")
