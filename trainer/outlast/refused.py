"""Going on is refused: nothing that is saved is changed, and one line says what to do instead."""

from __future__ import annotations

from typing import ClassVar


class RefusedError(Exception):
    """Training cannot go on from what is there; the message is the line for a person.

    Uncaught, it is shown as that line (:func:`outlast.exits.show_plainly`) and ends the program
    with exit code 1.
    """

    code: ClassVar[str] = "refused"
    """A stable word for programs, as in :class:`outlast.progress.Note`."""


class OtherModelError(RefusedError, ValueError):
    """The checkpoint holds another model; the message names the first variable that differs."""

    code = "other-model"


class OtherDataError(RefusedError, ValueError):
    """The checkpoint was taken within other data than ``fit`` is given now."""

    code = "other-data"


class OtherProgramError(RefusedError, ValueError):
    """The checkpoint was saved by another program, or in another way."""

    code = "other-program"


class OtherProcessesError(RefusedError, ValueError):
    """The checkpoint was saved by another number of processes."""

    code = "other-processes"


class OtherMachineError(RefusedError, RuntimeError):
    """Only equal machines are allowed, and this one is not equal."""

    code = "machine-differs"


class FolderInUseError(RefusedError, BlockingIOError):
    """Another process trains with the same folder."""

    code = "folder-in-use"


class OtherBackendError(RefusedError, RuntimeError):
    """Keras runs on a framework, or under a distribution, that is not saved."""

    code = "other-backend"


class OutputsError(RefusedError, OSError):
    """The outputs folder cannot be brought back to what it was at the checkpoint."""

    code = "outputs-not-restored"


class SettingError(RefusedError, ValueError):
    """The environment, or an argument, makes no sense."""

    code = "setting"
