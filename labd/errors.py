"""Every error that labd shows to people, as one tree.

LabdError                      internal
├── SettingsFault              settings_invalid
├── BadRequest                 bad_request
│   ├── InvalidArguments       invalid_arguments
│   ├── BadVolume              bad_volume
│   ├── LengthRequired         length_required
│   ├── MethodNotAllowed       method_not_allowed
│   ├── BodyTooLarge           body_too_large
│   ├── HeaderTooLarge         header_too_large
│   └── RequestTimeout         request_timeout
├── NotFound                   not_found
│   ├── UnknownTask            unknown_task
│   ├── UnknownJob             unknown_job
│   ├── UnknownQueue           unknown_queue
│   ├── UnknownSchedule        unknown_schedule
│   ├── UnknownDevice          unknown_device
│   ├── UnknownReservoir       unknown_reservoir
│   ├── UnknownSnapshot        unknown_snapshot
│   ├── UnknownIngestion       unknown_ingestion
│   └── UnknownEnvironment     unknown_environment
├── Conflict                   conflict
│   ├── IdempotencyConflict    idempotency_conflict
│   ├── JobStateConflict       job_state_conflict
│   └── AlreadyServing         already_serving
├── NotAuthenticated           not_authenticated
├── ScopeMissing               scope_missing
├── OriginRefused              origin_refused
├── Refused                    refused
│   ├── StopLatched            stop_latched
│   ├── NotConnected           not_connected
│   ├── ModeMismatch           mode_mismatch
│   ├── GoalRefused            goal_refused
│   ├── DeviceBusy             device_busy
│   ├── DeviceClaimed          device_claimed
│   ├── JobExpired             job_expired
│   ├── ProtocolRefused        protocol_refused
│   ├── InsufficientStock      insufficient_stock
│   ├── InventoryNotInitialized  inventory_not_initialized
│   ├── GraphRefused           graph_refused
│   ├── DatasetRefused         dataset_refused
│   ├── SourceRefused          source_refused
│   ├── TableRefused           table_refused
│   ├── QualityRefused         quality_refused
│   ├── WingOff                wing_off
│   ├── EnvironmentOff         environment_off
│   ├── TaskOff                task_off
│   └── TaskPinned             task_pinned
├── Unavailable                unavailable
│   ├── StoreFull              store_full
│   ├── StoreDamaged           store_damaged
│   ├── StoreNewer             store_newer
│   ├── Draining               draining
│   ├── GraphUnreachable       graph_unreachable
│   ├── DatasetChanged         dataset_changed
│   ├── SourceUnreachable      source_unreachable
│   ├── TableConflict          table_conflict
│   ├── ClusterUnreachable     cluster_unreachable
│   ├── Overloaded             overloaded
│   │   └── ShareTaken         share_taken
│   └── DaemonUnreachable      daemon_unreachable
├── DeviceError                device_error
│   ├── DeviceTimeout          device_timeout
│   ├── DeviceCorrupt          device_corrupt
│   ├── DeviceFault            device_fault
│   ├── DeviceLost             device_lost
│   ├── MoveStalled            move_stalled
│   ├── MoveTimeout            move_timeout
│   ├── WatchdogTripped        watchdog_tripped
│   ├── ControlLost            control_lost
│   ├── RunFailed              run_failed
│   └── StopUnconfirmed        stop_unconfirmed
└── TaskError                  task_error
    ├── TaskFailed             task_failed
    ├── TaskTimeout            task_timeout
    ├── WorkerDied             worker_died
    ├── JobCancelled           job_cancelled
    └── JobInterrupted         job_interrupted

Why one tree with stable codes: the command line, the HTTP table, the retry rule and the logs all decide by
`code` and `retryable`, never by the text of a message or by the place that caught it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class LabdError(Exception):
    """Base of all errors shown to people.

    Args:
        message: Subject, what failed, the numbers, the next step.
        details: Machine-readable facts, JSON values only.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def to_wire(self) -> dict[str, Any]:
        """The error as the API answers it."""
        return {"code": self.code, "message": self.message, "details": self.details}


class SettingsFault(LabdError):
    """Settings that cannot be used; `details["problems"]` lists every one as `file: key: problem`."""

    code = "settings_invalid"


class BadRequest(LabdError):
    """A request that no state of the host could make valid."""

    code = "bad_request"


class InvalidArguments(BadRequest):
    """Arguments that the task's schema does not allow."""

    code = "invalid_arguments"


class BadVolume(BadRequest):
    """A volume that no reservoir could have: negative, no number, a wrong unit, more than it holds."""

    code = "bad_volume"


class LengthRequired(BadRequest):
    """A body is needed and none was announced."""

    code = "length_required"


class MethodNotAllowed(BadRequest):
    """The path is there, the method is not; `details["allowed"]` lists those that are."""

    code = "method_not_allowed"


class BodyTooLarge(BadRequest):
    """The body is longer than labd takes."""

    code = "body_too_large"


class HeaderTooLarge(BadRequest):
    """The request line or a header is longer than labd takes."""

    code = "header_too_large"


class RequestTimeout(BadRequest):
    """The request did not arrive as a whole in time."""

    code = "request_timeout"


class NotFound(LabdError):
    """Something that is not there."""

    code = "not_found"


class UnknownTask(NotFound):
    """No task of that name or alias."""

    code = "unknown_task"


class UnknownJob(NotFound):
    """No job of that id, or it has passed its retention."""

    code = "unknown_job"


class UnknownQueue(NotFound):
    """No queue of that name."""

    code = "unknown_queue"


class UnknownSchedule(NotFound):
    """No schedule of that name."""

    code = "unknown_schedule"


class UnknownDevice(NotFound):
    """No device of that name, or several and none named."""

    code = "unknown_device"


class UnknownReservoir(NotFound):
    """No reservoir of that name or colour."""

    code = "unknown_reservoir"


class UnknownSnapshot(NotFound):
    """No snapshot of that customer and timestamp."""

    code = "unknown_snapshot"


class UnknownIngestion(NotFound):
    """No ingestion of that name or id."""

    code = "unknown_ingestion"


class UnknownEnvironment(NotFound):
    """No environment of that name in the settings."""

    code = "unknown_environment"


class Conflict(LabdError):
    """A request that contradicts what is there."""

    code = "conflict"


class IdempotencyConflict(Conflict):
    """The idempotency key belongs to a job with another task or other arguments."""

    code = "idempotency_conflict"


class JobStateConflict(Conflict):
    """The job's state does not allow this change."""

    code = "job_state_conflict"


class AlreadyServing(Conflict):
    """Another daemon holds the state folder."""

    code = "already_serving"


class NotAuthenticated(LabdError):
    """Nobody labd knows."""

    code = "not_authenticated"


class ScopeMissing(LabdError):
    """The caller is known, the scope is not granted."""

    code = "scope_missing"


class OriginRefused(LabdError):
    """The request carries a Host or an Origin that is not this daemon's."""

    code = "origin_refused"


class Refused(LabdError):
    """A precondition does not hold now; the same request may be right later."""

    code = "refused"


class StopLatched(Refused):
    """Motion is refused until somebody resets the stop by name."""

    code = "stop_latched"


class NotConnected(Refused):
    """The device is not connected."""

    code = "not_connected"


class ModeMismatch(Refused):
    """The servo's operating mode is not the one labd drives."""

    code = "mode_mismatch"


class GoalRefused(Refused):
    """A goal outside the limits or one that cannot be sent safely."""

    code = "goal_refused"


class DeviceBusy(Refused):
    """The device is doing something else."""

    code = "device_busy"


class DeviceClaimed(Refused):
    """Another session holds the claim on the device."""

    code = "device_claimed"


class JobExpired(Refused):
    """A physical job waited past its `expires_at`."""

    code = "job_expired"


class ProtocolRefused(Refused):
    """A robot protocol that would not run as it is; `details["errors"]` has lines where they are known."""

    code = "protocol_refused"


class InsufficientStock(Refused):
    """Less in stock than the job needs; `details["short"]` has both volumes of each reservoir."""

    code = "insufficient_stock"


class InventoryNotInitialized(Refused):
    """Nobody ever said how much is in the reservoir."""

    code = "inventory_not_initialized"


class GraphRefused(Refused):
    """The graph store says no: its edition, a name, a permission, something in the way."""

    code = "graph_refused"


class DatasetRefused(Refused):
    """A snapshot that the graph store cannot hold; names table, column and value."""

    code = "dataset_refused"


class SourceRefused(Refused):
    """The source of an ingestion says no: credentials, a bucket or folder that is not there, a permission."""

    code = "source_refused"


class TableRefused(Refused):
    """The destination cannot take what was read: a schema that does not fit, a table that somebody dropped."""

    code = "table_refused"


class QualityRefused(Refused):
    """What was read breaks a quality rule of its ingestion; nothing of it was committed."""

    code = "quality_refused"


class WingOff(Refused):
    """The wing is not configured or its packages are missing."""

    code = "wing_off"


class EnvironmentOff(Refused):
    """The interpreter that the task needs is not there; the message says why."""

    code = "environment_off"


class TaskOff(Refused):
    """The file of the task cannot be used now; the message names file and line."""

    code = "task_off"


class TaskPinned(Refused):
    """The task is pinned to other code than the file has now."""

    code = "task_pinned"


class Unavailable(LabdError):
    """labd cannot serve this now."""

    code = "unavailable"
    retryable = True


class StoreFull(Unavailable):
    """The disk takes no more; nothing was accepted."""

    code = "store_full"


class StoreDamaged(Unavailable):
    """The database cannot be read; it is left as it is."""

    code = "store_damaged"
    retryable = False


class StoreNewer(Unavailable):
    """The database was written by a newer labd; it is left as it is."""

    code = "store_newer"
    retryable = False


class Draining(Unavailable):
    """The daemon is ending and takes no new work."""

    code = "draining"


class GraphUnreachable(Unavailable):
    """The graph store does not answer."""

    code = "graph_unreachable"
    retryable = True


class DatasetChanged(Unavailable):
    """A snapshot is not as it was when it was found complete: somebody writes to it."""

    code = "dataset_changed"
    retryable = True


class SourceUnreachable(Unavailable):
    """The source of an ingestion does not answer."""

    code = "source_unreachable"
    retryable = True


class TableConflict(Unavailable):
    """Somebody else committed to the table at the same time; nothing of this batch is in."""

    code = "table_conflict"
    retryable = True


class ClusterUnreachable(Unavailable):
    """The process or cluster that reads and writes does not answer, or was lost."""

    code = "cluster_unreachable"
    retryable = True


class Overloaded(Unavailable):
    """More requests than labd bears."""

    code = "overloaded"


class ShareTaken(Overloaded):
    """One caller has as much under way as a single one may."""

    code = "share_taken"


class DaemonUnreachable(Unavailable):
    """Nobody answers where the daemon should be."""

    code = "daemon_unreachable"


class DeviceError(LabdError):
    """A device did not do what was asked."""

    code = "device_error"


class DeviceTimeout(DeviceError):
    """No answer in time."""

    code = "device_timeout"
    retryable = True


class DeviceCorrupt(DeviceError):
    """An answer that fails its checks."""

    code = "device_corrupt"
    retryable = True


class DeviceFault(DeviceError):
    """The device reports an error of its own."""

    code = "device_fault"


class DeviceLost(DeviceError):
    """The port or the connection is gone."""

    code = "device_lost"
    retryable = True


class MoveStalled(DeviceError):
    """The motor stopped before its goal."""

    code = "move_stalled"


class MoveTimeout(DeviceError):
    """The move took longer than its profile allows."""

    code = "move_timeout"


class WatchdogTripped(DeviceError):
    """The motor's own watchdog stopped it because nobody fed it."""

    code = "watchdog_tripped"


class ControlLost(DeviceError):
    """Somebody else has taken the device over; labd leaves it alone."""

    code = "control_lost"


class RunFailed(DeviceError):
    """The robot ended a run otherwise than by success."""

    code = "run_failed"


class StopUnconfirmed(DeviceError):
    """Torque off was sent and could not be read back."""

    code = "stop_unconfirmed"


class TaskError(LabdError):
    """A job did not end well."""

    code = "task_error"


class TaskFailed(TaskError):
    """The task raised; the type and the traceback are in the job."""

    code = "task_failed"
    retryable = True


class TaskTimeout(TaskError):
    """The attempt took longer than `timeout_s`."""

    code = "task_timeout"
    retryable = True


class WorkerDied(TaskError):
    """The process that ran the task ended before it answered; says by which signal or exit code."""

    code = "worker_died"
    retryable = True


class JobCancelled(TaskError):
    """Somebody cancelled the job."""

    code = "job_cancelled"


class JobInterrupted(TaskError):
    """The daemon died or was stopped while the job ran."""

    code = "job_interrupted"
