"""Faults that stop the start of the process: exit code 2, and a sentence on stderr. `unit/cli` has the other cases."""

import socket
from pathlib import Path

from support.service_process import run_to_end


def refused(directory: Path, *arguments: str, **variables: str) -> str:
    ended = run_to_end(directory, *arguments, **variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    return ended.stderr


def test_a_misspelt_key_never_serves_invented_answers(tmp_path: Path) -> None:
    assert "ANTHROPIC_API_KEY" in refused(tmp_path, "serve", ANTHROPIC_API_KYE="sk-secret")


def test_a_wrong_variable(tmp_path: Path) -> None:
    assert refused(tmp_path, "serve", TIDEGATE_PORT="70000").startswith("tidegate: TIDEGATE_PORT: got '70000'")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        sentence = refused(tmp_path, "serve", "--upstream", "simulator", "--port", port)
    assert f"got {port}, allowed is a port that is free" in sentence


def test_a_file_of_certificates_that_is_not_there(tmp_path: Path) -> None:
    sentence = refused(tmp_path, "serve", "--upstream", "simulator", "--port", "0", SSL_CERT_FILE="/no/such.pem")
    assert "SSL_CERT_FILE: got '/no/such.pem', allowed is an existing PEM file of certificates" in sentence


def test_a_proxy_of_a_kind_that_is_not_spoken(tmp_path: Path) -> None:
    variables = {"ANTHROPIC_API_KEY": "sk-secret", "HTTPS_PROXY": "socks5://user:secret@proxy:1", "NO_PROXY": ""}
    sentence = refused(tmp_path, "serve", "--port", "0", **variables)
    assert "HTTPS_PROXY: got 'socks5://proxy" in sentence
    assert "secret" not in sentence
