"""What can go wrong, as a tree.

* Fit50Error
  + UserError (a ValueError; exit code 2: the request, the data or a file is at fault)
    - SpecError          a value that says no network, recipe or request
    - NotBuiltError      a value that is well formed, but that this version cannot make
    - DataError          images, labels or splits that cannot be used
    - CheckpointError    a weights file that is not what was expected
    - BundleError        a deployed file or its folder that is not what was expected
    - RuntimeRefusal     a runtime that cannot run this network or device
    - DeviceError        a device that cannot be reached, or that cannot do what was asked
    - BudgetError        a budget that nothing can meet
    - MissingExtraError  an optional dependency that is not installed
    - StorageError       a folder that cannot be written, or a full disk
    - TrainingDiverged   a loss that is no longer finite
    - OutOfMemory        a batch that no device can hold
  + Stopped              a request from outside to stop, once what was done is kept (exit code 143)

Every message names the thing, what was expected, what was found and what to do.
"""


class Fit50Error(Exception):
    """The root of every error that fit50 raises on purpose."""


class UserError(Fit50Error, ValueError):
    """The caller can mend this; the command line ends with exit code 2."""


class SpecError(UserError):
    """A value that says no network, recipe or request."""


class NotBuiltError(UserError):
    """A value that is well formed, but that this version cannot make."""


class DataError(UserError):
    """Images, labels or splits that cannot be used."""


class CheckpointError(UserError):
    """A weights file that is not what was expected."""


class BundleError(UserError):
    """A deployed file or its folder that is not what was expected."""


class RuntimeRefusal(UserError):
    """A runtime that cannot run this network or device."""


class DeviceError(UserError):
    """A device that cannot be reached, or that cannot do what was asked."""


class BudgetError(UserError):
    """A budget that nothing can meet."""


class MissingExtraError(UserError):
    """An optional dependency that is not installed."""

    def __init__(self, needed_for: str, package: str, extra: str) -> None:
        super().__init__(
            f"{needed_for} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'fit50[{extra}]'"
        )


class StorageError(UserError):
    """A folder that cannot be written, or a full disk."""


class TrainingDiverged(UserError):
    """A loss that is no longer finite."""


class OutOfMemory(UserError):
    """A batch that no device can hold, in however many pieces."""


class Stopped(Fit50Error):
    """A request from outside to stop, which came in the middle of a training; its state is kept."""
