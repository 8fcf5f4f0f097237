"""Error attribution: a wide-precision twin beside the program says which source lines make the error of the results.

    report = trnlab.emulator.run(kernel, x, y).error_report(oracle=lambda x, y: x.T @ y)
    print(report)

The program is executed again, instruction by instruction, as the reference executor does, and beside it the same
instructions in float64 on float64 operands: the *twin*. What an instruction writes differs from the twin's by

    local error      what it adds itself: its result less the wide result from the very operands that it read
    inherited error  what its operands brought along: that wide result less the twin's

and the two add up to the difference, element by element. Local errors are split by kind (`ErrorKind`). What is
reported by default, the local error relative to the line's own results, says where noise enters and not how much of it
arrives. `exact=True` answers that too, by a second walk with one more world for every line that errs: a world in which
every line makes the errors that it made in the program, except that one. How far the results' squared error falls is
the line's share. Other lines' errors are held as they were, so for a linear program whose lines' errors are
uncorrelated the shares add up to 1; where errors cancel or a function bends they need not.

The twin shares with the program what is a choice and not arithmetic: addresses, loop counts, the scales of quantize_mx
(powers of two, so its unrounded elements and those scales still stand for exactly what was quantised), random bits.
Results stored as integers are rounded in the twin too. Bit operations, native integer arithmetic, random numbers and
searches have no wide form: the twin takes over the program's results, and the report names them.
"""

from trnlab.emulator.attribution.assemble import Output as Output, attribute as attribute, results_of as results_of
from trnlab.emulator.attribution.kinds import ErrorKind as ErrorKind
from trnlab.emulator.attribution.report import (
    ErrorReport as ErrorReport,
    LineError as LineError,
    OutputError as OutputError,
)
from trnlab.emulator.attribution.verdict import Cause as Cause, Verdict as Verdict
