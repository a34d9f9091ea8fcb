"""What `labd demo` shows, line by line: commands of `labctl` as a user would type them."""

from __future__ import annotations

from dataclasses import dataclass, replace

OT2 = "ot2"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the tour.

    Args:
        title: What it shows; empty where it belongs to the step before.
        command: What is typed; `{protocols}` is the folder of protocols, `{arrivals}` that of files, `{job}` the job of
            the last `--no-wait`, `{version}` the snapshot laid down last. With `@` it is nothing typed: `@moving` waits
            for the carousel to turn, `@asked` for that job's question, `@served` for a graph; `@reads` and `@read` are
            a reader's begin and end; `@arrive` lays files down, `@kill` kills the daemon in the middle of a run and
            starts it again, `@compare` holds the table against the files.
        code: The exit code that means success.
        makes: The environment that it makes; where it cannot, the steps that need it are left out.
        needs: The environment without which it is left out.
        wing: The wing without whose packages it is left out.
    """

    title: str
    command: str
    code: int = 0
    makes: str = ""
    needs: str = ""
    wing: str = ""


def _of(wing: str, *steps: Step) -> tuple[Step, ...]:
    """Steps that are left out where the wing's packages are not installed."""
    return tuple(replace(step, wing=wing) for step in steps)


TOUR = (
    Step("What is here", "status"),
    Step("Connect: torque comes on where the carousel stands, nothing moves", "resort connect"),
    Step("Turn to hotel A", "resort activate A"),
    Step("Turn to hotel B", "resort activate B"),
    Step("Turn to hotel D, the short way round", "resort activate D"),
    Step("How the motor is", "resort health"),
    Step("A slow move, and an emergency stop in the middle of it", "resort speed 4"),
    Step("", "resort activate B --no-wait"),
    Step("", "@moving"),
    Step("", "resort stop"),
    Step("The stop is latched: motion is refused (exit code 4)", "resort activate A", code=4),
    Step("Somebody takes responsibility by name", 'resort reset --by demo --reason "end of the tour"'),
    Step("And it turns again", "resort speed 30"),
    Step("", "resort activate A"),
    Step("A flow of the lab: turn to hotel C, then ask a person", "task run load_plate hotel=C --no-wait"),
    Step("", "@asked"),
    Step("The flow waits, without a worker, as long as it takes", "job why {job}"),
    Step("Somebody answers, and it goes on", "job answer {job} yes"),
    Step("", "job wait {job}"),
    Step(
        "Make an interpreter with opentrons in the demo's folder; what is not cached is downloaded, and takes a while",
        "env sync ot2", makes=OT2,
    ),
    Step("What would this protocol do? opentrons simulates it", "ot2 analyze {protocols}/three_colours.py", needs=OT2),
    Step("Run it on the virtual robot", "ot2 run {protocols}/three_colours.py"),
    Step("Mix a colour: the lab's own task", "task run mix_color R=120 Y=50 B=80 mix_well=B2", needs=OT2),
    Step("More than a well takes (exit code 1)", "task run mix_color R=200 Y=100 B=80 mix_well=B3", code=1, needs=OT2),
    Step("Say how much paint is there: 15 ml of red, yellow and blue", "inventory init 15 15 15 --operator demo"),
    Step(
        "Mix on that stock: reserved when the job is accepted, debited paint by paint",
        "task run mix_color_with_inventory R=120 Y=50 B=80 mix_well=C2", needs=OT2,
    ),
    Step("Every microlitre has a cause", "inventory history --limit 8"),
    Step("Somebody reads the yellow tube: it is almost empty", "inventory measure yellow 0.045 --operator demo"),
    Step(
        "No job starts short: the next mix is refused (exit code 4)",
        "task run mix_color_with_inventory R=120 Y=50 B=80 mix_well=C3", code=4, needs=OT2,
    ),
    Step("Restock, by name", "inventory restock 0 10 0 --operator demo"),
    Step("When each paint runs out", "inventory forecast"),
    *_of(
        "snapshots",
        Step("Customers with graphs: a first snapshot for each lies down, is found", "snapshot demo-data --rows 5000"),
        Step("", "@served"),
        Step("Who serves", "snapshot list"),
        Step("", "@reads"),
        Step(
            "A newer snapshot: loaded, verified, and the alias moves under a reader that asks all the time",
            "snapshot simulate --customer customer1 --wait",
        ),
        Step("", "@read"),
        Step(
            "One that lost half of its people is held, the old one goes on serving (exit code 6)",
            "snapshot simulate --customer customer1 --rows 2500 --wait", code=6,
        ),
        Step("Somebody takes it all the same", 'snapshot approve customer1 {version} --reason "half moved away"'),
        Step("And goes back again", 'snapshot rollback customer1 --reason "they did not"'),
        Step("Real Cypher on what serves", 'snapshot query customer1 "MATCH (p:Person) RETURN count(p) AS people"'),
    ),
    *_of(
        "ingest",
        Step("Files arrive", "@arrive three"),
        Step(
            "Every new file goes into a table once: in one commit that names its batch",
            "ingest create readings --source file://{arrivals} --format jsonl --table lab.readings --settle 0 "
            "--batch-files 10",
        ),
        Step("", "ingest run readings"),
        Step("", "ingest query readings --columns number,sensor,celsius --limit 3"),
        Step("A bad file is quarantined, with the reason, and does not stop the rest (exit code 6)", "@arrive broken"),
        Step("", "ingest run readings", code=6),
        Step("", "ingest files readings --bad", code=6),
        Step("A file that was written anew is loaded anew", "@arrive changed"),
        Step("", "ingest run readings"),
        Step("Two hundred files, and a kill -9 of the daemon in the middle of them", "@arrive many"),
        Step("", "ingest run readings --no-wait"),
        Step("", "@kill"),
        Step("After its restart the run goes on by itself, where it was", "job wait {job}"),
        Step("", "@compare"),
        Step("", "ingest runs readings"),
    ),
    Step(
        "Look after the motor each working day at six",
        'schedule add morning resort.get_motor_health --cron "0 6 * * 1-5" --timezone Europe/Vienna',
    ),
    Step("When that would be", "schedule preview morning --count 3"),
    Step("Every job is on record", "job list"),
)  # fmt: skip
