"""The exception tree, which callers rely on."""

from __future__ import annotations

from fit50.spec import errors


def tree(kind: type) -> dict[str, dict[str, object]]:
    ours = (each for each in kind.__subclasses__() if each.__module__ == errors.__name__)
    return {each.__name__: tree(each) for each in ours}


def test_the_tree_is_pinned() -> None:
    assert tree(errors.Fit50Error) == {
        "UserError": {
            "SpecError": {},
            "NotBuiltError": {},
            "DataError": {},
            "CheckpointError": {},
            "BundleError": {},
            "RuntimeRefusal": {},
            "DeviceError": {},
            "BudgetError": {},
            "MissingExtraError": {},
            "StorageError": {},
            "TrainingDiverged": {},
            "OutOfMemory": {},
        },
        "Stopped": {},
    }


def test_the_docstring_is_the_tree() -> None:
    lines = [line.split() for line in (errors.__doc__ or "").splitlines()]
    listed = {words[1] for words in lines if words and words[0] in ("*", "+", "-")}
    defined = {name for name, each in vars(errors).items() if isinstance(each, type)}
    assert listed == defined


def test_users_errors_are_value_errors() -> None:
    assert issubclass(errors.UserError, ValueError)
    assert not issubclass(errors.Fit50Error, ValueError)


def test_a_missing_extra_says_what_to_install() -> None:
    message = str(errors.MissingExtraError("the verb train", "torch", "train"))
    assert message == (
        "the verb train needs the package 'torch', which is not installed; install it with: pip install 'fit50[train]'"
    )
