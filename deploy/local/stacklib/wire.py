"""Just enough of each server's protocol to ask: are you ready?

No driver is installed for this: the standard library's sockets carry the few
messages needed.
"""

import contextlib
import socket
import struct


class NotReady(Exception):
    """The server does not answer yet, or answers that it is not ready."""


@contextlib.contextmanager
def connection(port, timeout):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as stream:
            yield stream
    except (OSError, struct.error, IndexError) as error:
        raise NotReady(str(error)) from error


def receive(stream, count):
    data = b""
    while len(data) < count:
        part = stream.recv(count - len(data))
        if not part:
            raise NotReady("the server closed the connection")
        data += part
    return data


# --- MongoDB: OP_MSG with BSON ---------------------------------------------


def bson(document):
    body = b""
    for key, value in document.items():
        name = key.encode() + b"\0"
        if isinstance(value, bool):
            body += b"\x08" + name + struct.pack("<?", value)
        elif isinstance(value, int):
            body += b"\x10" + name + struct.pack("<i", value)
        elif isinstance(value, str):
            text = value.encode() + b"\0"
            body += b"\x02" + name + struct.pack("<i", len(text)) + text
        elif isinstance(value, list):
            items = {str(index): item for index, item in enumerate(value)}
            body += b"\x04" + name + bson(items)
        else:
            body += b"\x03" + name + bson(value)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def unbson(data):
    """A document's fields; types that no answer here needs stay raw bytes."""
    fixed = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8}
    numbers = {0x01: "<d", 0x08: "<?", 0x10: "<i", 0x12: "<q"}
    document, at = {}, 4
    while data[at] != 0:
        kind, end = data[at], data.index(b"\0", at)
        key, at = data[at + 1 : end].decode(), end + 1
        if kind in fixed:
            size = fixed[kind]
        else:  # a length leads: of the text, of the bytes, or of the whole document
            (size,) = struct.unpack_from("<i", data, at)
            size += {0x02: 4, 0x05: 5}.get(kind, 0)
        raw, at = data[at : at + size], at + size
        if kind in numbers:
            (document[key],) = struct.unpack(numbers[kind], raw)
        elif kind == 0x02:
            document[key] = raw[4:-1].decode(errors="replace")
        elif kind in (0x03, 0x04):
            document[key] = unbson(raw)
        else:
            document[key] = raw
    return document


def mongodb_command(port, timeout, command):
    body = b"\0\0\0\0" + b"\0" + bson({**command, "$db": "admin"})
    with connection(port, timeout) as stream:
        stream.sendall(struct.pack("<4i", 16 + len(body), 1, 0, 2013) + body)
        (length,) = struct.unpack("<i", receive(stream, 4))
        return unbson(receive(stream, length - 4)[12 + 5 :])


def mongodb_ready(port, timeout):
    """Initiate the replica set when it is new; ready once it can be written."""
    hello = mongodb_command(port, timeout, {"hello": 1})
    if "setName" not in hello:
        member = {"_id": 0, "host": f"127.0.0.1:{port}"}
        config = {"_id": "rs0", "members": [member]}
        answer = mongodb_command(port, timeout, {"replSetInitiate": config})
        if not answer.get("ok"):
            raise NotReady(answer.get("errmsg", "replSetInitiate was refused"))
    if not hello.get("isWritablePrimary"):
        raise NotReady("not a writable primary yet")


# --- Kafka: Metadata, version 1 --------------------------------------------


def kafka_ready(port, timeout):
    """Ready once the broker lists itself, that is: registered and unfenced."""
    request = struct.pack(">hhih5si", 3, 1, 1, 5, b"stack", 0)  # for no topic
    with connection(port, timeout) as stream:
        stream.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", receive(stream, 4))
        answer = receive(stream, length)
    (brokers,) = struct.unpack_from(">i", answer, 4)
    if brokers < 1:
        raise NotReady("the broker is not registered yet")


# --- PostgreSQL: simple queries --------------------------------------------


def postgres_query(port, timeout, database, query):
    """Run a query and give its first column's texts (no password: trust)."""
    settings = f"user\0leafcutter\0database\0{database}\0\0".encode()
    with connection(port, timeout) as stream:
        stream.sendall(struct.pack(">ii", 8 + len(settings), 196608) + settings)
        postgres_answer(stream)
        text = query.encode() + b"\0"
        stream.sendall(b"Q" + struct.pack(">i", 4 + len(text)) + text)
        return postgres_answer(stream)


def postgres_answer(stream):
    values = []
    while True:
        kind = receive(stream, 1)
        (length,) = struct.unpack(">i", receive(stream, 4))
        body = receive(stream, length - 4)
        if kind == b"Z":
            return values
        if kind == b"E":
            fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0")}
            raise NotReady(fields.get(b"M", "the server answered with an error"))
        if kind == b"D":
            (size,) = struct.unpack_from(">i", body, 2)
            values.append(body[6 : 6 + size].decode() if size >= 0 else None)


def postgres_ready(port, timeout):
    """Make the database when it is new; ready once it answers."""
    query = "SELECT 1 FROM pg_database WHERE datname = 'leafcutter'"
    if not postgres_query(port, timeout, "postgres", query):
        postgres_query(port, timeout, "postgres", "CREATE DATABASE leafcutter")
    postgres_query(port, timeout, "leafcutter", "SELECT 1")
