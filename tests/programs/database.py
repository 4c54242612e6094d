"""Runs a test against a PostgreSQL server that lives as long as the test needs it."""

import anyio
import dagger
from dagger import dag

INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql"
BIN = "/usr/lib/postgresql/15/bin"
DATA = "/var/lib/postgresql/test"
RULES = "host all all all scram-sha-256\n"
TEST = """\
CREATE TABLE runs (name text PRIMARY KEY, loss real);
INSERT INTO runs VALUES ('first', 0.5), ('second', 0.25);
SELECT name FROM runs ORDER BY loss LIMIT 1;
"""


async def main() -> None:
    async with dagger.connection():
        password = dag.set_secret("database", "correct horse")
        debian = (
            dag.container()
            .from_("debian:bookworm-slim")
            .with_env_variable("DEBIAN_FRONTEND", "noninteractive")
            .with_exec(["sh", "-c", INSTALL])
        )
        server = (
            debian.with_user("postgres")
            .with_mounted_secret("/run/password", password, owner="postgres")
            .with_exec([f"{BIN}/initdb", "-D", DATA, "--pwfile=/run/password", "-A", "trust"])
            .without_mount("/run/password")
            .with_new_file(f"{DATA}/pg_hba.conf", RULES, owner="postgres")
            .with_exposed_port(5432)
            .as_service(args=[f"{BIN}/postgres", "-D", DATA, "-c", "listen_addresses=*"])
        )
        tested = (
            debian.with_service_binding("db", server)
            .with_secret_variable("PGPASSWORD", password)
            .with_exec(
                ["psql", "-h", "db", "-U", "postgres", "-qtA", "-v", "ON_ERROR_STOP=1"], stdin=TEST
            )
        )
        print("best:", (await tested.stdout()).strip())


anyio.run(main)
