"""The emulated NeuronCore: run and trace NKI kernels on the CPU.

Importing this package makes `import nki` resolve to `trnlab.emulator.nki` where AWS's package is absent. In a notebook:
`%load_ext trnlab.emulator`.
"""

from typing import Any

from trnlab.emulator import importer
from trnlab.emulator.dtypes import DTYPES as DTYPES, DType as DType, as_dtype as as_dtype
from trnlab.emulator.errors import (
    ArgumentError as ArgumentError,
    BackendError as BackendError,
    BoundsError as BoundsError,
    BufferError as BufferError,
    CapacityError as CapacityError,
    DtypeError as DtypeError,
    EngineError as EngineError,
    GenerationError as GenerationError,
    KernelError as KernelError,
    NotYetSupportedError as NotYetSupportedError,
    PartitionError as PartitionError,
    RuntimeValueError as RuntimeValueError,
    ShapeError as ShapeError,
    SourceLocation as SourceLocation,
    TensorLifetimeError as TensorLifetimeError,
    TraceError as TraceError,
    TrnlabError as TrnlabError,
    UnknownNameError as UnknownNameError,
    UnwrittenOutputError as UnwrittenOutputError,
    UsageError as UsageError,
    Violation as Violation,
)
from trnlab.emulator.launch import (
    Kernel as Kernel,
    Run as Run,
    RunStats as RunStats,
    jit as jit,
    run as run,
    simulate as simulate,
    trace as trace,
)
from trnlab.emulator.numerics.microscaling_checkpoints import (
    pack_checkpoint as pack_checkpoint,
    unpack_checkpoint as unpack_checkpoint,
)
from trnlab.emulator.numerics.microscaling_host import (
    dequantize_mx_host as dequantize_mx_host,
    pack_operand as pack_operand,
    pack_x4 as pack_x4,
    quantize_mx_host as quantize_mx_host,
    unpack_operand as unpack_operand,
    unpack_x4 as unpack_x4,
)
from trnlab.emulator.numerics.microscaling_layout import LaneOrder as LaneOrder
from trnlab.emulator.numerics.microscaling_policies import BlockPolicy as BlockPolicy, ScaleRule as ScaleRule
from trnlab.emulator.numerics.nvfp4 import (
    Nvfp4 as Nvfp4,
    dequantize_nvfp4 as dequantize_nvfp4,
    quantize_nvfp4 as quantize_nvfp4,
)
from trnlab.emulator.program import Instruction as Instruction, Program as Program
from trnlab.emulator.target import (
    TARGETS as TARGETS,
    Engine as Engine,
    Feature as Feature,
    Generation as Generation,
    Target as Target,
    get_target as get_target,
)
from trnlab.emulator.tuning import tune as tune


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext trnlab.emulator`: kernels written in this notebook may `import nki`."""
    importer.install()


def unload_ipython_extension(ipython: Any) -> None:
    """`%unload_ext trnlab.emulator`: `import nki` finds a real package again, or nothing."""
    importer.uninstall()


importer.install()
