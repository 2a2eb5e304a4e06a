"""The sidecar's image: what is in it, and as whom and with what it runs."""

import json
import pathlib
import subprocess

from conftest import SIDECAR_USER, Pair
from engine import docker

BASE = "debian:trixie-slim"
# What the program and its libraries may add to Debian's own image.
ADDED_BYTES_MAX = 60_000_000


def inspect(image: str) -> dict:
    return json.loads(docker("image", "inspect", image))[0]


def inside(image: str, command: str) -> str:
    return docker("run", "--rm", "--entrypoint", "bash", image, "-c", command)


def test_image_is_small(sidecar_image: str):
    added = inspect(sidecar_image)["Size"] - inspect(BASE)["Size"]
    assert added < ADDED_BYTES_MAX


def test_image_has_only_the_packages_that_own_the_programs_libraries(sidecar_image: str):
    packages = "dpkg-query --show --showformat '${Package}\\n'"
    added = set(inside(sidecar_image, packages).split()) - set(inside(BASE, packages).split())
    owners = "ldd /usr/local/bin/apex | awk '$2 == \"=>\" {print $3}' | xargs realpath | xargs dpkg-query --search | cut -d: -f1"
    needed = set(inside(sidecar_image, owners).split())
    # What Debian's packages of OpenLDAP, SASL and gRPC insist on.
    assert {name for name in added - needed if name.startswith("lib")} <= {"libldap-common", "libprotoc32t64", "libsasl2-modules-db"}
    assert not [name for name in added if name.endswith("-dev") or name in ("g++", "gcc", "cmake", "curl", "wget")]


def test_program_is_stripped(sidecar_image: str, tmp_path: pathlib.Path):
    name = docker("create", sidecar_image).strip()
    docker("cp", f"{name}:/usr/local/bin/apex", str(tmp_path / "apex"))
    docker("rm", name)
    sections = subprocess.run(["readelf", "--section-headers", "--wide", tmp_path / "apex"], capture_output=True, text=True, check=True)
    assert ".dynsym" in sections.stdout
    assert ".symtab" not in sections.stdout
    assert ".debug_info" not in sections.stdout


def test_image_has_no_source_and_no_package_lists(sidecar_image: str):
    assert inside(sidecar_image, "ls -d /source /root/.cache /var/lib/apt/lists/* 2>/dev/null || true") == ""


def test_entrypoint_is_the_program_itself(sidecar_image: str):
    config = inspect(sidecar_image)["Config"]
    # A shell as process 1 would keep SIGTERM to itself.
    assert (config["Entrypoint"], config["Cmd"]) == (["/usr/local/bin/apex"], ["run"])
    assert inspect(sidecar_image)["Healthcheck"]["Test"][0] == "CMD"


def test_no_secret_is_in_the_image(sidecar_image: str, postgres_image: str):
    for image in (sidecar_image, postgres_image):
        variables = [entry.partition("=")[0] for entry in inspect(image)["Config"]["Env"]]
        assert not [name for name in variables if any(word in name for word in ("PASSWORD", "KEY", "TOKEN", "DSN"))]
        private = "grep --recursive --files-with-matches --binary-files=without-match -e '-----BEGIN .*PRIVATE KEY' /etc /root /home /srv /usr/local /var/lib || true"
        assert inside(image, private) == ""


def test_program_runs_as_nobody_of_importance(sidecar_image: str, pair: Pair):
    assert inspect(sidecar_image)["Config"]["User"] == f"{SIDECAR_USER}:{SIDECAR_USER}"
    status = pathlib.Path(f"/proc/{pair.sidecar.state['Pid']}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines())
    assert facts["Uid"].split() == [str(SIDECAR_USER)] * 4
    assert facts["CapEff"] == facts["CapBnd"] == "0" * 16
    assert facts["NoNewPrivs"] == "1"


def test_program_needs_no_file_to_write(pair: Pair):
    assert pair.sidecar.inspect()["HostConfig"]["ReadonlyRootfs"]
    files = pathlib.Path(f"/proc/{pair.sidecar.state['Pid']}/fd").iterdir()
    opened = {str(file.readlink()) for file in files}
    assert not {name for name in opened if name.startswith("/") and not name.startswith("/dev/")}


def test_secrets_given_by_file_show_nowhere(pair: Pair):
    process = pathlib.Path(f"/proc/{pair.sidecar.state['Pid']}")
    shown = {
        "inspect": json.dumps([pair.sidecar.inspect(), pair.postgres.inspect()]),
        "environment": (process / "environ").read_bytes().decode(),
        "command line": (process / "cmdline").read_bytes().decode(),
        "environment of postgres": pathlib.Path(f"/proc/{pair.postgres.state['Pid']}/environ").read_bytes().decode(),
        "logs": pair.sidecar.logs() + pair.postgres.logs(),
    }
    assert len(pair.secrets) == 5
    found = [(where, secret) for where, text in shown.items() for secret in pair.secrets if secret in text]
    assert not found


def test_wrong_settings_end_it_with_words_and_code_2(sidecar_image: str):
    done = subprocess.run(
        ["docker", "run", "--rm", "--env", "APEX_POSTGRES_DSN=nonsense", sidecar_image], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "APEX_POSTGRES_DSN" in done.stderr
