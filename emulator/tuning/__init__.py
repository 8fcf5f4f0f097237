"""The tuner: a kernel's keyword arguments swept by predicted time, on one machine or many, with results on file."""

from trnlab.emulator.tuning.measure import Measured as Measured
from trnlab.emulator.tuning.results import ResultsFileError as ResultsFileError
from trnlab.emulator.tuning.space import Setting as Setting, parse_space as parse_space, settings as settings
from trnlab.emulator.tuning.sweep import Tuning as Tuning, tune as tune
