import json
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from typer.testing import CliRunner

from config.settings import environment
from control import migrate
from control.cli.app import app
from control.demo import story
from control.demo.cast import Stage, out
from control.supervisor import ports
from control.supervisor.ports import PortTaken
from gateway.kit import crypto

COMMANDS = ("up", "gateway", "control", "worker", "migrate", "openapi", "doctor", "secrets")


def farebox(
    *arguments: str, variables: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "control.cli.app", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment({"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **(variables or {})}),
        cwd=cwd,
        check=False,
    )


def helped(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    return re.sub(r"\s+", " ", result.output)


def test_help_lists_every_command() -> None:
    text = helped()
    for name in COMMANDS:
        assert f" {name} " in text


def test_outbox_says_what_an_id_is(tmp_path: Path) -> None:
    said = farebox("outbox", "the-first", "--data-dir", str(tmp_path))
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        "farebox: 'the-first' is no id of a letter: `farebox outbox` lists letters, with theirs first\n"
    )


@pytest.mark.parametrize("name", [*COMMANDS[:-1], "secrets new", "secrets rotate"])
def test_help_of_a_command_has_a_sentence_and_an_example(name: str) -> None:
    text = helped(*name.split())
    assert re.search(r"[A-Z][a-z]+ .*\.", text)
    assert re.search(rf"Example: .*farebox {name}", text)


def test_help_of_up_shows_the_defaults() -> None:
    text = helped("up")
    for default in ("127.0.0.1", "8402", "/var/lib/farebox", "FAREBOX_LISTEN__WORKERS, else 1"):
        assert default in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["up", "--port", "70000"], 2),
        (["up", "--workers", "0"], 2),
        (["fly"], 2),
        (["up", "--config", "/nowhere.toml"], 1),
        (["gateway"], 1),
        (["migrate", "--data-dir", "/nowhere"], 1),
        (["secrets", "new", "two words"], 2),
    ],
)
def test_an_error_is_a_sentence_on_standard_error(arguments: list[str], code: int) -> None:
    result = farebox(*arguments)
    assert result.returncode == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()


def test_a_wrong_setting_is_named_and_its_value_is_not_repeated() -> None:
    result = farebox("up", variables={"FAREBOX_LISTEN__PORT": "hunter2"})
    assert result.returncode == 1
    assert "FAREBOX_LISTEN__PORT" in result.stderr
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize("name", ["FAREBOX_PGPROXY__PROT", "FAREBOX_PGPROXI__PORT"])
def test_a_misspelt_setting_is_said_to_be_none(name: str) -> None:
    result = farebox("up", variables={name: "1"})
    assert result.returncode == 1
    assert f"{name}: no such setting" in result.stderr


def test_a_file_in_the_working_directory_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    assert "farebox up" in farebox("--help", cwd=tmp_path).stdout


def test_migrate_prints_what_it_applied_and_then_nothing(empty: str) -> None:
    variables = {"FAREBOX_POSTGRES__DSN": empty}
    first = farebox("migrate", variables=variables)
    assert first.stdout.split() == [one.name for one in migrate.files()]
    assert farebox("migrate", variables=variables).stdout == ""


def test_openapi_is_a_document() -> None:
    assert json.loads(farebox("openapi").stdout)["openapi"].startswith("3.1")


def test_a_new_key_can_be_used() -> None:
    key = farebox("secrets", "new", "2026-11").stdout.strip()
    keyring = crypto.Keyring.parse([key])
    assert keyring.open(keyring.seal(b"secret", b"row"), b"row") == b"secret"


def test_rotate_says_how_many_were_encrypted_anew(server: str, database: str) -> None:
    variables = {
        "FAREBOX_POSTGRES__DSN": server.replace("/postgres?", f"/{database}?"),
        "FAREBOX_SECRETS__KEYS": json.dumps([crypto.new_key("only")]),
    }
    result = farebox("secrets", "rotate", variables=variables)
    assert (result.stdout, result.returncode) == ("0 encrypted anew\n", 0)


def test_rotate_without_keys_is_refused(server: str, database: str, tmp_path: Path) -> None:
    variables = {"FAREBOX_POSTGRES__DSN": server.replace("/postgres?", f"/{database}?")}
    result = farebox("secrets", "rotate", "--data-dir", str(tmp_path), variables=variables)
    assert result.returncode == 1
    assert "FAREBOX_SECRETS__KEYS" in result.stderr


@pytest.mark.parametrize(("is_free", "port"), [(True, 8402), (False, 0)])
def test_the_demo_that_stays_is_where_everybody_looks_for_it(
    monkeypatch: pytest.MonkeyPatch, is_free: bool, port: int
) -> None:
    def listen_alone(host: str, port: int) -> socket.socket:
        if not is_free:
            raise PortTaken(f"{host}:{port}")
        return socket.socket()

    monkeypatch.setattr(ports, "listen_alone", listen_alone)
    assert story.usual_port() == port


def test_the_demo_says_what_to_type_as_it_was_typed_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a new terminal nobody has activated anything."""
    monkeypatch.setattr(sys, "argv", [".venv/bin/farebox", "demo", "--stay"])
    stage = SimpleNamespace(
        origin="http://a", shop="http://a/publishers/b", agent=SimpleNamespace(private_key=b"\x01" * 32)
    )
    with out.capture() as said:
        story.show_around(cast(Stage, stage), "fb_test_key")
    text = " ".join(said.get().split())
    assert "FAREBOX_API_KEY=fb_test_key .venv/bin/farebox pay http://a/publishers/b/weather/oslo" in text
