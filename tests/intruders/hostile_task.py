"""A task file whose body speaks for its worker: it finds the channel among its open files and writes bytes into it."""

TASKS = """
import base64, stat, threading

def channel():
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                return int(name)
        except OSError:
            pass

def send(data):
    left = memoryview(data)
    while left:
        left = left[os.write(channel(), left):]

@task
def whole(value: int):
    log("a line of the next")
    return value

@task
def speaks(data: str, times: int = 1, returns: bool = True):
    send(base64.b64decode(data) * times)
    if not returns:
        threading.Event().wait()
    return "returned"

@task(effect="physical")
def moves_and_speaks(data: str):
    send(base64.b64decode(data))
    threading.Event().wait()

@task
def drips(size: int):
    head = b'{"type":"log","run":0,"text":"'
    send(head + b"x" * size)
    for _ in range(2000):
        send(b"y")
    send(b'"}' + bytes([10]))
    return "dripped"

@task
def floods(kind: str, count: int):
    # the number of this run is not told to a body; every number that it may have gets its line
    row = b'{"type":"%s","run":%d,"text":"t","done":1}' + bytes([10])
    rows = b"".join(row % (kind.encode(), n) for n in range(1, 40))
    for _ in range(count // 40):
        send(rows)
    return "flooded"

@task
def prints(megabytes: int):
    line = "x" * 1023 + chr(10)
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)
    return "printed"
"""
