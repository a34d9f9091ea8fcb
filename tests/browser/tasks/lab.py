"""Tasks that pages have something to show of."""

from labd import ask, call, log, progress, task


@task
def talk(lines: int = 3, text: str = "hello"):
    """Write lines."""
    for number in range(lines):
        log(f"{text} {number}")
        progress(number + 1, lines, "talking")
    return {"said": lines, "text": text}


@task
def load_plate(hotel: str = "B"):
    """Turn a hotel to the front and ask."""
    call("resort.activate_hotel", hotel=hotel)
    return ask("Is the plate on the robot?", choices=["yes", "no"])


@task
def broken(text: str = "nothing is right"):
    """Fail."""
    raise ValueError(text)


@task
def outer():
    """Do it by another task."""
    return call("middle")


@task
def middle():
    """Do it by a third."""
    return call("talk", lines=1)
