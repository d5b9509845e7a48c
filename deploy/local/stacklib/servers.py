"""The three servers: how each is prepared, started, asked, and stopped."""

import base64
import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

from . import install, wire
from .common import (
    SERVERS,
    STACK,
    StackError,
    choose_ports,
    command_line,
    children,
    exists,
    is_free,
    java,
    process_state,
    run,
    send,
    shown,
    wait_gone,
)

PATIENCE = 120  # seconds; a start takes 2 to 6, more while the machine compiles


class Stack:
    """A folder with the servers' data, logs and process numbers, and their ports."""

    def __init__(self, folder):
        self.folder = Path(folder).absolute()
        self.file = self.folder / "stack.json"
        try:
            self.state = json.loads(self.file.read_text())
        except FileNotFoundError:
            self.state = None
        except ValueError:
            raise StackError(
                "read the stack's ports",
                f"{shown(self.file)} is not JSON",
                f"remove {shown(self.folder)} and run `{STACK} up`",
            ) from None

    def create(self, kafka_users=None, tls=None):
        names = ["mongodb", "kafka", "kafka_controller", "postgres"]
        names += ["kafka_users"] if kafka_users else []
        names += ["kafka_tls"] if tls else []
        ports = dict(zip(names, choose_ports(len(names))))
        self.state = {"ports": ports, "kafka_cluster": new_cluster_id(), "servers": []}
        if kafka_users:
            self.state["kafka_users"] = kafka_users
        if tls:
            self.state["tls"] = str(tls)
        self.save()

    def save(self):
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(self.state, indent=2) + "\n")
        temporary.rename(self.file)

    def add(self, servers):
        known = set(self.state["servers"]) | set(servers)
        if known != set(self.state["servers"]):
            self.state["servers"] = [name for name in SERVERS if name in known]
            self.save()

    def servers(self):
        return [KINDS[name](self) for name in self.state["servers"]]

    def server(self, name):
        if name not in self.state["servers"]:
            raise StackError(
                f"find {name}",
                f"the stack in {shown(self.folder)} was set up without it",
                f"{STACK} up --only {name} --dir {shown(self.folder)}",
            )
        return KINDS[name](self)

    def wipe(self):
        """Remove what the stack made, and its folder when nothing else is in it."""
        for server in self.servers():
            shutil.rmtree(server.data, ignore_errors=True)
        for name in (*SERVERS, "log", "run"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.file.unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:
            pass  # stacks of other names may live below


def new_cluster_id():
    """Kafka's way of writing a UUID; a leading minus would look like an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


class Server:
    name = ""
    gentle = signal.SIGTERM  # ends the server in good order
    instant = signal.SIGKILL  # ends it at once, its data not to be used again

    def __init__(self, stack):
        self.stack = stack
        self.port = stack.state["ports"][self.name]
        self.data = stack.folder / self.name
        self.log = stack.folder / "log" / f"{self.name}.log"
        self.pid_file = stack.folder / "run" / f"{self.name}.pid"

    # --- its process ---

    def pid(self):
        """Its process number, if that process lives and is this very server."""
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        ours = self.mark() in command_line(pid) and exists(pid)
        return pid if ours else None

    def mark(self):
        """An argument that only this server's command line has."""
        return str(self.data)

    def is_frozen(self):
        pid = self.pid()
        return pid is not None and process_state(pid)[0] == "T"

    def family(self, pid):
        return [pid]

    # --- starting ---

    def start(self):
        if self.pid():
            return
        if not is_free(self.port):
            raise StackError(
                f"start {self.name} on 127.0.0.1:{self.port}",
                "another program listens on that port",
                "end that program, or set up the stack anew (down --wipe, then up)",
            )
        for folder in (self.log.parent, self.pid_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        with open(self.log, "ab") as output:
            process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                **self.identity(),
            )
        self.pid_file.write_text(f"{process.pid}\n")
        # For a moment the kernel shows a new program without its command line.
        while process.poll() is None and not self.pid():
            time.sleep(0.005)

    def identity(self):
        return {}

    def wait(self, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while True:
            try:
                if not self.pid():
                    break
                left = deadline - time.monotonic()
                return self.ask(min(5.0, max(0.1, left)))
            except wire.NotReady as error:
                answer = str(error)
            if time.monotonic() > deadline:
                frozen = f"it is frozen; {STACK} kill {self.name} --signal CONT"
                raise StackError(
                    f"wait for {self.name} on 127.0.0.1:{self.port}",
                    f"not ready after {patience:.0f} s ({answer})",
                    frozen if self.is_frozen() else f"read {shown(self.log)}",
                    self.log,
                )
            time.sleep(0.05)
        raise StackError(
            f"wait for {self.name} on 127.0.0.1:{self.port}",
            "it is not running",
            f"read {shown(self.log)}, then {STACK} start {self.name}"
            + f" --dir {shown(self.stack.folder)}",
            self.log,
        )

    # --- ending ---

    def signal(self, number):
        """Send a signal; wait for the end if it is one that ends the server."""
        pid = self.pid()
        if not pid:
            raise StackError(
                f"send {number.name} to {self.name}",
                "it is not running",
                f"{STACK} start {self.name} --dir {shown(self.stack.folder)}",
            )
        targets = [pid]
        if number in (signal.SIGKILL, signal.SIGSTOP):
            send(pid, signal.SIGSTOP)  # so that it has no more children meanwhile
            targets = self.family(pid)
        elif number == signal.SIGCONT:
            targets = self.family(pid)
        for target in targets:
            send(target, number)
        ending = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
        if number in ending and not wait_gone(targets, 30):
            raise StackError(
                f"end {self.name} with {number.name}",
                "it still runs after 30 s",
                f"{STACK} kill {self.name}",
            )
        return pid

    def stop(self, instantly):
        """End it within ten seconds, by force if it must be."""
        pid = self.pid()
        if pid:
            family = self.family(pid)
            send(pid, self.instant if instantly else self.gentle)
            for member in family:
                send(member, signal.SIGCONT)  # a frozen one could not follow
            if not wait_gone(family, 8):
                for member in {*family, *self.family(pid)}:
                    if member in family or process_state(member)[1] == pid:
                        send(member, signal.SIGKILL)
                wait_gone(family, 2)
        self.pid_file.unlink(missing_ok=True)
        return pid


class MongoDB(Server):
    name = "mongodb"

    def prepare(self):
        self.data.mkdir(exist_ok=True)

    def command(self):
        parameters = (
            "enableTestCommands=1",
            "diagnosticDataCollectionEnabled=false",
            "shutdownTimeoutMillisForSignaledShutdown=100",
        )
        return [
            str(install.mongod()),
            "--dbpath",
            str(self.data),
            "--quiet",
            "--nounixsocket",
            "--bind_ip",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--replSet",
            "rs0",
            "--oplogSize",
            "4096",
            "--wiredTigerCacheSizeGB",
            "1",
            *(part for parameter in parameters for part in ("--setParameter", parameter)),
            *self.tls(),
        ]

    def tls(self):
        """Beside connections without it, which the stack itself uses."""
        folder = self.stack.state.get("tls")
        if not folder:
            return []
        return [
            "--tlsMode",
            "preferTLS",
            "--tlsCertificateKeyFile",
            f"{folder}/server.pem",
            "--tlsCAFile",
            f"{folder}/ca.crt",
            "--tlsAllowConnectionsWithoutCertificates",
        ]

    def ask(self, timeout):
        wire.mongodb_ready(self.port, timeout)

    def uri(self):
        return "LEAFCUTTER_MONGODB_URI", f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"


class Kafka(Server):
    name = "kafka"
    largest_message = 25 * 1024 * 1024

    def mark(self):
        return str(self.data / "server.properties")

    def prepare(self):
        self.data.mkdir(exist_ok=True)
        settings = self.data / "server.properties"
        settings.write_text(self.settings())
        if (self.data / "log" / "bootstrap.checkpoint").exists():
            return
        shutil.rmtree(self.data / "log", ignore_errors=True)  # a format that was interrupted
        tool = ["kafka.tools.StorageTool", "format", "-t", self.stack.state["kafka_cluster"]]
        tool += ["-c", str(settings)]
        # Of these the broker keeps what their passwords are proven by (KIP-900).
        for name, password in (self.stack.state.get("kafka_users") or {}).items():
            tool += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        run(
            "format Kafka's storage",
            kafka_command(*tool, options=("-XX:TieredStopAtLevel=1",)),
            self.log,
        )

    def settings(self):
        controller = self.stack.state["ports"]["kafka_controller"]
        users = self.stack.state["ports"].get("kafka_users")
        tls = self.stack.state["ports"].get("kafka_tls")
        listeners = f"PLAINTEXT://127.0.0.1:{self.port}"
        if users:
            listeners += f",USERS://127.0.0.1:{users}"
        if tls:
            listeners += f",TLS://127.0.0.1:{tls}"
        return "\n".join(
            (
                "process.roles=broker,controller",
                "node.id=1",
                f"controller.quorum.voters=1@127.0.0.1:{controller}",
                f"listeners={listeners},CONTROLLER://127.0.0.1:{controller}",
                f"advertised.listeners={listeners}",
                "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
                "USERS:SASL_PLAINTEXT,TLS:SSL",
                *self.access(),
                *self.certificate(),
                f"log.dirs={self.data / 'log'}",
                "auto.create.topics.enable=false",
                "num.partitions=1",
                f"message.max.bytes={self.largest_message}",
                f"replica.fetch.max.bytes={self.largest_message}",
                "group.initial.rebalance.delay.ms=0",
                "offsets.topic.replication.factor=1",
                "offsets.topic.num.partitions=10",
                "transaction.state.log.replication.factor=1",
                "transaction.state.log.min.isr=1",
                "transaction.state.log.num.partitions=10",
                # After a kill the broker may register again once its old session is over.
                "broker.session.timeout.ms=3000",
                "broker.heartbeat.interval.ms=500",
                "",
            )
        )

    def access(self):
        """With users there are ACLs: who has no name may do all, others what they are granted."""
        users = self.stack.state.get("kafka_users")
        if not users:
            return []
        known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
        logins = "org.apache.kafka.common.security"
        return [
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
            "allow.everyone.if.no.acl.found=false",
            "listener.name.users.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512",
            "listener.name.users.plain.sasl.jaas.config="
            f"{logins}.plain.PlainLoginModule required {known};",
            "listener.name.users.scram-sha-512.sasl.jaas.config="
            f"{logins}.scram.ScramLoginModule required;",
        ]

    def certificate(self):
        folder = self.stack.state.get("tls")
        if not folder:
            return []
        return [
            "listener.name.tls.ssl.keystore.type=PEM",
            f"listener.name.tls.ssl.keystore.location={folder}/server.pem",
        ]

    def command(self):
        options = ("-Xms256m", "-Xmx768m", "-XX:+ExitOnOutOfMemoryError")
        return kafka_command("kafka.Kafka", self.mark(), options=options)

    def ask(self, timeout):
        wire.kafka_ready(self.port, timeout)

    def uri(self):
        return "LEAFCUTTER_KAFKA_BROKERS", f"127.0.0.1:{self.port}"


# Whoever makes another role gives it a password.
ACCESS = """\
local all all trust
host all leafcutter 127.0.0.1/32 trust
host replication leafcutter 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


def kafka_command(*arguments, options=()):
    program = java()
    if not program:
        raise StackError("run Kafka", "java is missing", "install a JDK 17")
    jars = install.kafka_jars()
    logging = f"-Dlog4j.configuration=file:{jars / 'log4j.properties'}"
    return [program, *options, "-XX:-UsePerfData", logging, "-cp", f"{jars}/*", *arguments]


class Postgres(Server):
    name = "postgres"
    gentle = signal.SIGINT  # ends sessions first; SIGTERM would wait for them
    instant = signal.SIGQUIT  # unlike SIGKILL leaves no shared memory behind

    def __init__(self, stack):
        super().__init__(stack)
        elsewhere = stack.state.get("postgres_data")
        self.data = Path(elsewhere) if elsewhere else self.data

    def mark(self):
        return str(self.data / "data")

    def family(self, pid):
        return [pid, *children(pid)]

    def identity(self):
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return {}
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            raise StackError(
                "start postgres", "root may not, and there is no user postgres", f"{STACK} install"
            ) from None
        keep = {key: os.environ[key] for key in ("PATH", "TZ") if key in os.environ}
        environment = {**keep, "HOME": "/", "LANG": "C.UTF-8"}
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "env": environment}

    def prepare(self):
        if not (self.data / "data" / "leafcutter.conf").exists():
            self.prepare_folder()
            cluster = self.data / "data"
            shutil.rmtree(cluster, ignore_errors=True)  # an initdb that was interrupted
            program = install.postgres_binaries() / "initdb"
            run(
                "make PostgreSQL's cluster",
                [
                    str(program),
                    "-D",
                    str(cluster),
                    "-U",
                    "leafcutter",
                    "-A",
                    "trust",
                    "-E",
                    "UTF8",
                    "--locale",
                    "C.UTF-8",
                    "--no-sync",
                    "--no-instructions",
                ],
                self.log,
                cwd="/",
                **self.identity(),
            )
            with open(cluster / "postgresql.conf", "a") as settings:
                settings.write("include 'leafcutter.conf'\n")
        cluster = self.data / "data"
        (cluster / "leafcutter.conf").write_text(self.settings())
        (cluster / "pg_hba.conf").write_text(ACCESS)
        self.forget_the_dead(cluster / "postmaster.pid")
        self.forget_the_dead(self.data / f".s.PGSQL.{self.port}.lock")

    def prepare_folder(self):
        """A folder that the user postgres owns and can get at."""
        self.data.mkdir(exist_ok=True)
        identity = self.identity()
        if not identity:
            return
        reached = subprocess.run(["test", "-x", self.data], cwd="/", **identity).returncode == 0
        if not reached:  # say the repository lies in /root: go where everyone may
            self.data.rmdir()
            digest = hashlib.sha256(str(self.stack.folder).encode()).hexdigest()[:12]
            self.data = Path("/var/tmp") / f"leafcutter-{digest}"
            self.data.mkdir(mode=0o700, exist_ok=True)
            self.stack.state["postgres_data"] = str(self.data)
            self.stack.save()
        os.chown(self.data, identity["user"], identity["group"])

    def settings(self):
        socket_folder = str(self.data)
        if len(socket_folder) > 80:  # the kernel's limit is 107 for the whole name
            socket_folder = ""
        lines = [
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{socket_folder}'",
            "max_connections = 200",
            "shared_buffers = 512MB",
            "max_wal_size = 4GB",
            "checkpoint_timeout = 15min",
            "log_checkpoints = off",
            "log_timezone = 'UTC'",
            "timezone = 'UTC'",
        ]
        if os.environ.get("LEAFCUTTER_STACK_FSYNC") == "off":
            lines += ["fsync = off", "full_page_writes = off"]
        return "\n".join(lines) + "\n"

    def forget_the_dead(self, lock):
        """Remove a killed server's lock.

        The number in it may be another program's by now, or a zombie's that
        nobody collects; PostgreSQL would take either for a living server.
        """
        try:
            pid = int(lock.read_text().split("\n")[0])
        except (OSError, ValueError):
            pid = None
        if pid is None or self.mark() not in command_line(pid):
            lock.unlink(missing_ok=True)

    def command(self):
        return [str(install.postgres_binaries() / "postgres"), "-D", self.mark()]

    def ask(self, timeout):
        wire.postgres_ready(self.port, timeout)

    def uri(self):
        uri = f"postgres://leafcutter@127.0.0.1:{self.port}/leafcutter"
        return "LEAFCUTTER_POSTGRES_URI", uri


KINDS = {kind.name: kind for kind in (MongoDB, Kafka, Postgres)}
