"""Tasks that say whatever they are told to, wherever a task can say something."""

from labd import ask, log, progress, task


@task
def say(text: str = "plain", progressed: str = "plain"):
    """<img src=x onerror=alert(101)> is what it is for."""
    print(text)
    log(text)
    progress(1, 2, progressed)
    return {text: [text]}


@task
def wonder(question: str, choice: str):
    """Ask whatever it is told to."""
    return ask(question, choices=[choice, "no"])
