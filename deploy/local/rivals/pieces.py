"""What the rivals consist of, fetched into the cache: nothing of theirs is in the repository."""

import re
import shutil
import subprocess
import sys

from stacklib.common import StackError, cache, java, locked, run
from stacklib.install import AGAIN, adopt, fetch, is_complete, missing, pom

CONNECT = "3.9.1"  # as Kafka in the stack
DEBEZIUM = "3.3.1.Final"
DRIVERS = ("pymongo==4.20.1", "psycopg2-binary==2.9.13")
JDK = 17

CONNECT_JARS = (
    ("org.apache.kafka", "connect-runtime", CONNECT),
    ("org.apache.kafka", "connect-json", CONNECT),
    ("org.slf4j", "slf4j-reload4j", "1.7.36"),
)
# A connector that brings another Jackson than Connect's fails as soon as one meets the other. It
# takes Connect's, and with it the module of that version that Connect has not.
OF_CONNECT = ("jackson-core", "jackson-databind", "jackson-annotations")
JACKSON_TIMES = ("com.fasterxml.jackson.datatype", "jackson-datatype-jsr310", "2.16.2")
PLUGINS = ("debezium-connector-mongodb", "debezium-connector-jdbc")


def log():
    """Where Maven's and pip's words go."""
    return cache() / "rivals.log"


def environment():
    """The folder of the Python environment; another choice of drivers gets another one."""
    versions = "-".join(driver.rpartition("=")[2] for driver in DRIVERS)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return cache() / f"rivals-python-{python}-{versions}"


def python():
    """A Python that has the drivers of MongoDB and PostgreSQL."""
    folder = environment()
    program, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists() and program.exists():
        return program
    with locked(cache()):
        shutil.rmtree(folder, ignore_errors=True)
        made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True)
        if made.returncode != 0:
            missing("Python's venv module (Debian: python3-venv)")
        command = [str(program), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        fetch(f"{' and '.join(DRIVERS)} for Python", [*command, *DRIVERS], log())
        run("try the drivers", [str(program), "-c", "import psycopg2, pymongo"], log(), AGAIN)
        complete.touch()
    return program


def connect():
    """The folder with Kafka Connect's jars."""
    return cache() / f"rivals-connect-{CONNECT}"


def plugins():
    """The folder with a folder for each of Debezium's connectors."""
    return cache() / f"rivals-debezium-{DEBEZIUM}"


def debezium():
    """Kafka Connect and Debezium, in the cache."""
    check_java()
    plugins().mkdir(parents=True, exist_ok=True)
    jars_into(connect(), f"Kafka Connect {CONNECT}", CONNECT_JARS)
    for name in PLUGINS:
        jars = [("io.debezium", name, DEBEZIUM), JACKSON_TIMES]
        jars_into(plugins() / name, f"{name} {DEBEZIUM}", jars, without=OF_CONNECT)


def check_java():
    """Kafka Connect and Debezium want this Java at least."""
    program = java()
    told = subprocess.run([program, "-version"], capture_output=True, text=True).stderr if program else ""
    version = re.search(r'version "(\d+)', told)
    if not version or int(version[1]) < JDK:
        missing(f"JDK {JDK}, for Kafka Connect and Debezium (or leave it out: --only leafcutter,script)")


def jars_into(folder, what, jars, without=()):
    """Let Maven copy jars and what they need into a folder, which appears when it is whole."""
    if is_complete(folder):
        return
    if not shutil.which("mvn"):
        missing(f"mvn (Maven), to fetch {what} with (or leave it out: --only leafcutter,script)")
    sys.stderr.write(f"     fetching {what}\n")
    with locked(cache()):
        temporary, project = cache() / "incomplete-jars", cache() / "incomplete-rivals"
        for left_over in (temporary, project):
            shutil.rmtree(left_over, ignore_errors=True)
            left_over.mkdir()
        (project / "pom.xml").write_text(pom(jars))
        command = ["mvn", "-q", "-B", "-C", "-f", str(project / "pom.xml")]
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        goal += [f"-DexcludeArtifactIds={','.join(without)}"] if without else []
        fetch(what, [*command, *goal, f"-DoutputDirectory={temporary}"], log())
        if not any(temporary.glob("*.jar")):
            raise StackError(f"fetch {what}", "Maven copied no jar", AGAIN, log())
        adopt(temporary, folder)
        shutil.rmtree(project)
