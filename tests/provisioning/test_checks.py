# ruff: noqa: E501 - a table of messages, each as a person sees it
from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from outlast_provisioning.checks import check_job_file, whole_url
from outlast_provisioning.parsing import BadJobError

ENVIRON = {"PATH": "/usr/bin:/bin"}


def write(folder: Path, **fields: str) -> Path:
    base = {
        "version": "1",
        "name": "digits",
        "code": ".",
        "command": f"[{sys.executable}, train.py]",
        "store": "file://./store",
        "pools": "[{provider: local}]",
    }
    (folder / "train.py").write_text("")
    path = folder / "job.yaml"
    fields = {**base, **fields}
    path.write_text("".join(f"{name}: {value}\n" for name, value in fields.items() if value))
    return path


def complaints(path: Path, store: str | None = None) -> list[str]:
    with pytest.raises(BadJobError) as caught:
        check_job_file(path, store=store, environ=ENVIRON)
    return [line.split(": ", 1)[1] for line in caught.value.lines]


def test_a_good_file(tmp_path: Path) -> None:
    checked = check_job_file(write(tmp_path), store=None, environ=ENVIRON)
    assert checked.store == f"file://{tmp_path / 'store'}"
    assert checked.code == tmp_path
    assert checked.warnings == ()


def test_the_option_comes_before_the_file_and_the_environment_after(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert check_job_file(path, store="s3://b/p/", environ=ENVIRON).store == "s3://b/p"
    path = write(tmp_path, store="")
    environ = {**ENVIRON, "OUTLAST_STORE": "gs://b"}
    assert check_job_file(path, store=None, environ=environ).store == "gs://b"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"store": ""}, "store: missing; write for example `store: file:///home/me/outlast`, or give"),
        ({"store": "ftp://x"}, "store: 'ftp://x' is not the URL of a store: file:///folder"),
        ({"store": "s3://me:word@bucket"}, "store: the URL holds a credential: take it out"),
        ({"command": "[nonsuch-program]"}, "command[0]: nonsuch-program is not a command of this machine"),
        ({"command": "[train.py]"}, "command[0]: train.py is not a command of this machine: write ./train.py"),
        ({"command": "[./train.py]"}, "command[0]: ./train.py is not executable: run `chmod +x"),
        ({"command": "[./other.sh]"}, "command[0]: ./other.sh is not in the code folder"),
        ({"command": "[python, -u, tain.py]"}, "command[2]: tain.py is not in the code folder"),
        ({"code": "nowhere"}, "code: "),
        ({"code": ""}, "code: missing; without an image the command runs in this folder: write `code: .`"),
        ({"env": "{WANDB_API_KEY: abc}"}, "env.WANDB_API_KEY: its name is that of a credential; this file is stored and passed on: give it to the machine another way"),
        ({"env": f"{{A: hf_{'x' * 34}}}"}, "env.A: its value looks like a Hugging Face token"),
        ({"command": f"[python, train.py, --key=sk-{'x' * 24}]"}, "command[2]: looks like an API key"),
        ({"pools": "[{provider: azure}]"}, "pools[0].provider: no provider 'azure' in this version; write one of: local"),
        ({"pools": "[{provider: local}, {provider: local}]"}, "pools[1]: this pool is in the list already"),
        ({"inputs": "[{from: /data, to: /data}]"}, "inputs[0]: from: '/data' is not a URL"),
        ({"inputs": "[{from: 's3://b/x', to: data}]"}, "inputs[0]: to: 'data' must be a whole path below /"),
        ({"inputs": "[{from: 's3://b/x', to: /a/../..}]"}, "inputs[0]: to: "),
        ({"inputs": "[{from: 's3://b/x', to: /nowhere/a}, {from: 's3://b/y', to: /nowhere/a/}]"}, "inputs[1]: to: another input is put at '/nowhere/a/' already"),
        ({"inputs": "[{from: 'file:///no/such.zip', to: /tmp/there}]"}, "inputs[0]: from: '/no/such.zip' is not on this machine: correct it, or put it there"),
        ({"inputs": "[{from: 'file:///usr', to: /tmp/there}]"}, "inputs[0]: from: '/usr' is a folder: end its URL with /"),
        ({"inputs": "[{from: 'file:///etc/passwd/', to: /tmp/there}]"}, "inputs[0]: from: '/etc/passwd' is no folder: leave out the / at its end"),
        ({"inputs": "[{from: 'file://./cats.zip', to: /tmp/there}]"}, "inputs[0]: from: 'file://./cats.zip' must name a whole path"),
        ({"inputs": "[{from: 'file:///', to: /tmp/there}]"}, "inputs[0]: from: 'file:///' names no file"),
        ({"inputs": f"[{{from: 'file:///{'x' * 300}', to: /tmp/there}}]"}, "inputs[0]: from: "),
        ({"inputs": "[{from: 's3://b/x', to: /etc/passwd}]"}, "inputs[0]: to: '/etc/passwd' is there already: without an image, choose a path"),
        ({"inputs": "[{from: 's3://b/x', to: /etc/passwd/data}]"}, "inputs[0]: to: nothing can be put below '/etc/passwd': without an image"),
        ({"image": "a b"}, "image: an image's name has no spaces"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_in_one_line(
    tmp_path: Path, fields: dict[str, str], text: str
) -> None:
    lines = complaints(write(tmp_path, **fields))
    assert any(line.startswith(text) for line in lines), lines


def test_inputs_that_are_there_and_links_of_an_earlier_machine_are_fine(tmp_path: Path) -> None:
    (tmp_path / "my cats%20.zip").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "home/local/m/disk/inputs/0")
    sources = (f"file://{tmp_path}/my cats%20.zip", f"file://{tmp_path}/folder/", "s3://b/x")
    targets = ("data", "new/cats", "other")
    pairs = zip(sources, targets, strict=True)
    inputs = ", ".join(f'{{from: "{one}", to: {tmp_path}/{to}}}' for one, to in pairs)
    check_job_file(write(tmp_path, inputs=f"[{inputs}]"), store=None, environ=ENVIRON)


def test_no_credential_is_repeated(tmp_path: Path) -> None:
    secret = "hf_" + "q" * 34
    lines = complaints(write(tmp_path, env=f"{{A: {secret}, B_TOKEN: hush-hush}}"))
    assert secret not in "".join(lines)
    assert "hush-hush" not in "".join(lines)


class Engine(BaseHTTPRequestHandler):
    """Answers as a container engine does."""

    def do_GET(self) -> None:
        body = b'{"ApiVersion": "1.43"}' if self.path.endswith("/version") else b"OK"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_an_image_needs_neither_code_nor_a_command_of_this_machine(tmp_path: Path) -> None:
    path = write(tmp_path, image="repo/x:1", code="", command="[nonsuch]")
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        environ = {**ENVIRON, "DOCKER_HOST": f"tcp://127.0.0.1:{server.server_address[1]}"}
        check_job_file(path, store=None, environ=environ)
        server.shutdown()


def test_limits_that_nothing_enforces_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, resources="{memory: 1GiB}")
    (warning,) = check_job_file(path, store=None, environ=ENVIRON).warnings
    assert "memory" in warning
    assert "do not limit plain processes" in warning


def test_relative_stores_are_made_whole(tmp_path: Path) -> None:
    assert whole_url("file://./a/../b", tmp_path) == f"file://{tmp_path}/b"
    assert whole_url("file:///a/b/", tmp_path) == "file:///a/b"
    assert whole_url("file://~/x", tmp_path) == f"file://{Path.home()}/x"
    assert whole_url("az://account/c/p/", tmp_path) == "az://account/c/p"
