"""Names in the documentation exist: files, make targets, commands, functions and classes.

Documents name files and functions, never lines. Looked at: inline code spans and the commands
of shell blocks in every Markdown file.
"""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("trainer", "agent", "provisioning", "examples", "bench", "tests")
FOLDERS = (*SOURCES, "docs", "systemd", "cloud-init", ".ci")
SUFFIXES = (".py", ".md", ".yaml", ".toml", ".json", ".service", ".sh")
# Names of things that are made at run time, or are another project's.
NOT_OURS = re.compile(
    r"(?:bench/out/|jobs/|checkpoints/|objects/|attempts/|launches/|outputs/|logs/|events/|beats/|"
    r"signals/|controllers/|code/|scratch/|/|~|\$|\.venv|\.outlast)"
)
RUN_TIME_FILES = {
    "announce.json", "cancel.json", "end.json", "held.json", "image.json", "job.json", "job.yaml",
    "notice.json", "progress.json", "result.json", "train.py", "demo.json", "report.json",
}  # fmt: skip


@cache
def documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


@cache
def spans() -> list[tuple[str, str]]:
    found = []
    for document in documents():
        text = document.read_text()
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        found += [(document.name, span) for span in re.findall(r"`([^`\n]+)`", prose)]
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, flags=re.DOTALL):
            lines = (line.removeprefix("$ ").split("#")[0].strip() for line in block.splitlines())
            found += [(document.name, line) for line in lines if line]
    return found


@cache
def defined() -> set[str]:
    names: set[str] = set()
    for folder in SOURCES:
        for file in (ROOT / folder).rglob("*.py"):
            names.add(file.stem)
            names.update(part for part in file.relative_to(ROOT).parts[:-1])
            for node in ast.walk(ast.parse(file.read_text())):
                match node:
                    case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                        names.add(node.name)
                    case ast.AnnAssign(target=ast.Name(id=name)):
                        names.add(name)
                    case ast.Assign(targets=[ast.Name(id=name)]):
                        names.add(name)
                    case ast.Attribute(attr=name) | ast.arg(arg=name):
                        names.add(name)
    return names


def named_files() -> list[tuple[str, str]]:
    return sorted(
        {
            (document, span)
            for document, span in spans()
            if re.fullmatch(r"[\w./-]+", span)
            and not NOT_OURS.match(span)
            and Path(span).name not in RUN_TIME_FILES
            and (span.endswith(SUFFIXES) or (span.endswith("/") and span.split("/")[0] in FOLDERS))
        }
    )


def commands(program: str) -> list[tuple[str, str]]:
    return sorted(
        {
            (document, match[1])
            for document, span in spans()
            if (match := re.match(rf"(?:.*\s|.*/)?{program} ([a-z][a-z-]+)", span))
        }
    )


def named_code() -> list[tuple[str, str]]:
    pattern = r"(?:outlast(?:_agent|_provisioning)?(?:\.\w+)+|[A-Z]\w+\.[a-z_]\w+|\w+)(\(.*\))?"
    return sorted(
        {
            (document, span)
            for document, span in spans()
            if (match := re.fullmatch(pattern, span))
            and (match[1] or span.startswith("outlast."))
            and not span.endswith(SUFFIXES)
        }
    )


@pytest.mark.parametrize(("document", "name"), named_files())
def test_a_named_file_exists(document, name):
    if "/" in name:
        places = (ROOT, *(ROOT / f for f in ("trainer/outlast", "agent/outlast_agent")),
                  ROOT / "provisioning/outlast_provisioning", ROOT / "docs")  # fmt: skip
        assert any((place / name).exists() for place in places), f"{document} names {name}"
    else:
        found = [p for f in FOLDERS for p in (ROOT / f).rglob(name)]
        assert found or (ROOT / name).exists(), f"{document} names {name}"


@pytest.mark.parametrize(("document", "target"), commands("make"))
def test_a_named_make_target_exists(document, target):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert target in targets, f"{document} names `make {target}`"


@pytest.mark.parametrize(("document", "command"), commands("outlast"))
def test_a_named_command_exists(document, command):
    import typer

    from outlast_provisioning.cli.app import app

    assert command in typer.main.get_group(app).commands, f"{document} names `outlast {command}`"


@pytest.mark.parametrize(("document", "name"), named_code())
def test_a_named_function_or_class_exists(document, name):
    parts = re.sub(r"\(.*\)", "", name).split(".")
    unknown = [part for part in parts if part not in defined() and part != "outlast"]
    assert not unknown, f"{document} names {name}"
