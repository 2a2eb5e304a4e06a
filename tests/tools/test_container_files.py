"""What ships the images: the Kubernetes manifests against Kubernetes' schemas, compose.yaml against the files it names."""

import pathlib
import re
import subprocess

import kubernetes_validate
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
# The oldest that Kubernetes' makers still mend, and the newest whose schemas there are.
VERSIONS = ["1.33.0", kubernetes_validate.latest_version()]
# A custom resource's schema comes with its operator.
CUSTOM_KINDS = {"ServiceMonitor"}


def resources() -> dict[str, dict]:
    found = [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]
    return {resource["kind"]: resource for resource in found}


def settings() -> dict[str, bool]:
    """The sidecar's environment variables, as its reference lists them; whether each is a secret."""
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    return {name: f"{name}_FILE" in page for name in re.findall(r"`(APEX_[A-Z0-9_]+)`", page)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", sorted(set(resources()) - CUSTOM_KINDS))
def test_manifest_fits_the_schema_of_its_kind(kind, version):
    kubernetes_validate.validate(resources()[kind], version, strict=True)


def test_schemas_refuse_a_field_that_does_not_exist():
    broken = resources()["Deployment"]
    broken["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_deployment_probes_liveness_and_readiness_on_the_http_port():
    container = resources()["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"http": 9464}


def test_deployment_runs_without_root_and_without_writing():
    pod = resources()["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}" in (DOCKER / "sidecar" / "Dockerfile").read_text()
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_deployment_finds_every_secret_in_the_secret_and_has_none_itself():
    found = resources()
    pod = found["Deployment"]["spec"]["template"]["spec"]
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert [volume["secret"]["secretName"] for volume in pod["volumes"]] == [found["Secret"]["metadata"]["name"]]
    variables = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
    files = [pathlib.PurePosixPath(path) for name, path in variables.items() if name.endswith("_FILE")]
    assert {str(path.parent) for path in files} == {mounted["secrets"]}
    assert {path.name for path in files} == set(found["Secret"]["stringData"])
    assert not [name for name in variables if name.endswith(("_PASSWORD", "_KEY", "_TOKEN"))]


def test_selectors_find_the_pods_and_the_service():
    found = resources()
    pods = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert found["Deployment"]["spec"]["selector"]["matchLabels"].items() <= pods
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= pods
    assert found["Service"]["spec"]["selector"].items() <= pods
    monitor = found["ServiceMonitor"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= found["Service"]["metadata"]["labels"].items()
    ports = {port["name"] for port in found["Service"]["spec"]["ports"]}
    assert [(at["port"] in ports, at["path"]) for at in monitor["spec"]["endpoints"]] == [(True, "/metrics")]


def test_disruption_budget_lets_nodes_be_drained_one_after_the_other():
    assert resources()["PodDisruptionBudget"]["spec"]["maxUnavailable"] < resources()["Deployment"]["spec"]["replicas"]


def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_compose_names_only_files_that_exist():
    named = [
        str(volume).split(":")[0]
        for service in compose()["services"].values()
        for volume in service.get("volumes", [])
        if str(volume).startswith(".")
    ]
    named += [service["build"]["dockerfile"] for service in compose()["services"].values() if "build" in service]
    assert named
    missing = [path for path in named if not (DOCKER / path).exists() and not (ROOT / path).exists()]
    assert not missing


def test_compose_pins_a_version_of_every_image():
    tags = [service["image"].partition(":")[2] for service in compose()["services"].values()]
    assert all(re.search(r"\d", tag) for tag in tags), tags


def test_compose_publishes_ports_on_this_machine_alone():
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_gives_every_secret_by_file():
    declared = compose()["secrets"]
    for name, service in compose()["services"].items():
        used = {secret if isinstance(secret, str) else secret["source"] for secret in service.get("secrets", [])}
        assert used <= set(declared)
        said = [str(value) for value in service.get("environment", {}).values()] + [str(part) for part in service.get("command", [])]
        paths = {path.rpartition("/")[2] for path in said if path.startswith("/run/secrets/")}
        assert paths <= used, name
        assert not [key for key in service.get("environment", {}) if re.search(r"(PASSWORD|API_KEY|TOKEN|AUTH)$", key)], name


def test_settings_of_the_sidecar_exist_wherever_they_are_set():
    known = settings()
    pod = resources()["Deployment"]["spec"]["template"]["spec"]
    given = {variable["name"] for variable in pod["containers"][0]["env"]} | set(compose()["services"]["sidecar"]["environment"])
    given |= set(re.findall(r"APEX_\w+(?==)", (DOCKER / "sidecar" / "Dockerfile").read_text())) - {"APEX_TESTS"}
    assert len(given) >= 10
    unknown = [name for name in given if name not in known and not known.get(name.removesuffix("_FILE"))]
    assert not unknown


def test_secrets_are_made_once_and_only_the_owner_can_enter(tmp_path):
    script = tmp_path / "up.sh"
    script.write_bytes((DOCKER / "up.sh").read_bytes())
    script.chmod(0o755)
    subprocess.run([script, "--secrets"], check=True)
    secrets = tmp_path / "secrets"
    first = {path.name: path.read_text() for path in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {f"secrets/{name}" for name in first} == {secret["file"] for secret in compose()["secrets"].values()}
    assert first["neo4j_auth"] == "neo4j/" + first["neo4j_password"]
    assert yaml.safe_load(first["qdrant_settings"]) == {"service": {"api_key": first["qdrant_api_key"].strip()}}
    assert first["redis_settings"] == "requirepass " + first["redis_password"]
    subprocess.run([script, "--secrets"], check=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == first


def test_one_version_is_named_everywhere():
    version = re.search(r"project\(apex_saga VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
    named = [service["image"] for service in compose()["services"].values() if "build" in service]
    named.append(resources()["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"])
    assert {image.partition(":")[2] for image in named} == {version}
