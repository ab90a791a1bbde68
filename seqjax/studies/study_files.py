"""Reads the files of studies."""

from seqjax.config_files import mistakes_in, no_study, run_file, siblings_of
from seqjax.errors import UserError
from seqjax.studies.search import Search
from seqjax.studies.study import Study


def load_study(path: str) -> Study | Search:
    """Returns what `get_study()` of a Python file returns.

    Raises:
      UserError: no such file, no get_study, or an error in the file, with its line.
    """
    module = run_file(path, "--study")
    if not callable(getattr(module, "get_study", None)):
        raise UserError(f"{path}: expected a function get_study()")
    with mistakes_in(path), siblings_of(path):
        study = module.get_study()
        if not isinstance(study, Study | Search):
            raise no_study(study)
        return study
