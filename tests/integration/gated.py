"""A sidecar that reaches every store of its world through a gate."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from gate import Gate
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from stores import Sidecar
from world import World, wait_until


class Gated:
    """The sidecar is made but not started; `variables` override its settings."""

    def __init__(self, world: World, variables: Mapping[str, str] | None = None) -> None:
        self.world = world
        settings = world.stack.sidecar_variables(world.database)
        dsn = conninfo_to_dict(settings["APEX_POSTGRES_DSN"])
        self.gates = {"postgres": Gate("127.0.0.1", int(dsn["port"]))}
        dsn["port"] = self.gates["postgres"].port
        # In the clear, so that the gate can read along.
        dsn["sslmode"] = "disable"
        settings["APEX_POSTGRES_DSN"] = make_conninfo(**dsn)
        for store in ("neo4j", "qdrant", "redis"):
            name = f"APEX_{store.upper()}_URI"
            address = urlsplit(settings[name])
            gate = self.gates[store] = Gate("127.0.0.1", address.port)
            settings[name] = settings[name].replace(f":{address.port}", f":{gate.port}", 1)
        self.sidecar: Sidecar = world.another_sidecar({**settings, **(variables or {})})

    def hold(self, *stores: str) -> None:
        for store in stores:
            self.gates[store].hold()

    def strand(self, *stores: str) -> None:
        for store in stores:
            self.gates[store].strand()

    def hold_at(self, call: str) -> None:
        """Holds PostgreSQL at the first call of this function."""
        gate = self.gates["postgres"]
        gate.when(call.encode(), gate.hold)

    def wait_held(self, *stores: str) -> None:
        for store in stores:
            gate = self.gates[store]
            wait_until(lambda: gate.holds_something, message=f"nothing was sent to {store}")

    def open(self) -> None:
        """Lets through what was held."""
        for gate in self.gates.values():
            gate.open()

    def kill_and_recover(self) -> None:
        self.sidecar.kill()
        for gate in self.gates.values():
            gate.open()
            gate.cut()
        self.sidecar.start()

    def close(self) -> None:
        for gate in self.gates.values():
            gate.close()
