"""nki.language: tensors, dtypes, memories, elementwise functions, reductions and loops, with the published names.

Functions expand to instructions of nki.isa; elementwise functions are also the operators that instructions take.
"""

from builtins import range as range

from trnlab.emulator.dtypes import (
    DType as DType,
    bfloat16 as bfloat16,
    bool_ as bool_,
    float4_e2m1fn_x4 as float4_e2m1fn_x4,
    float8_e4m3 as float8_e4m3,
    float8_e4m3fn as float8_e4m3fn,
    float8_e4m3fn_x4 as float8_e4m3fn_x4,
    float8_e5m2 as float8_e5m2,
    float8_e5m2_x4 as float8_e5m2_x4,
    float8_e8m0fnu as float8_e8m0fnu,
    float16 as float16,
    float32 as float32,
    int8 as int8,
    int16 as int16,
    int32 as int32,
    tfloat32 as tfloat32,
    uint8 as uint8,
    uint16 as uint16,
    uint32 as uint32,
)
from trnlab.emulator.memory import MemoryRegion as MemoryRegion
from trnlab.emulator.nki.language.creation import (
    empty_like as empty_like,
    full as full,
    ndarray as ndarray,
    ones as ones,
    shared_constant as shared_constant,
    shared_identity_matrix as shared_identity_matrix,
    zeros as zeros,
    zeros_like as zeros_like,
)
from trnlab.emulator.nki.language.grid import (
    num_programs as num_programs,
    program_id as program_id,
    program_ndim as program_ndim,
)
from trnlab.emulator.nki.language.loops import (
    affine_range as affine_range,
    dynamic_range as dynamic_range,
    fori_loop as fori_loop,
    no_reorder as no_reorder,
    sequential_range as sequential_range,
    static_range as static_range,
    while_loop as while_loop,
)
from trnlab.emulator.nki.language.memory_regions import (
    hbm as hbm,
    is_hbm as is_hbm,
    is_on_chip as is_on_chip,
    is_psum as is_psum,
    is_sbuf as is_sbuf,
    private_hbm as private_hbm,
    psum as psum,
    sbuf as sbuf,
    shared_hbm as shared_hbm,
)
from trnlab.emulator.nki.language.movement import (
    broadcast_to as broadcast_to,
    copy as copy,
    ds as ds,
    expand_dims as expand_dims,
    load as load,
    load_transpose2d as load_transpose2d,
    matmul as matmul,
    store as store,
    transpose as transpose,
)
from trnlab.emulator.nki.language.operators import (
    abs as abs,
    abs_max as abs_max,
    abs_min as abs_min,
    add as add,
    average as average,
    bitwise_and as bitwise_and,
    bitwise_or as bitwise_or,
    bitwise_xor as bitwise_xor,
    bypass as bypass,
    equal as equal,
    erf as erf,
    erf_dx as erf_dx,
    exp as exp,
    gelu as gelu,
    gelu_apprx_sigmoid as gelu_apprx_sigmoid,
    gelu_apprx_sigmoid_dx as gelu_apprx_sigmoid_dx,
    gelu_apprx_tanh as gelu_apprx_tanh,
    gelu_dx as gelu_dx,
    greater as greater,
    greater_equal as greater_equal,
    invert as invert,
    left_shift as left_shift,
    less as less,
    less_equal as less_equal,
    log as log,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    maximum as maximum,
    minimum as minimum,
    mish as mish,
    multiply as multiply,
    negative as negative,
    not_equal as not_equal,
    power as power,
    prelu as prelu,
    reciprocal as reciprocal,
    relu as relu,
    right_shift as right_shift,
    rsqrt as rsqrt,
    sigmoid as sigmoid,
    sign as sign,
    silu as silu,
    silu_dx as silu_dx,
    softplus as softplus,
    sqrt as sqrt,
    square as square,
    subtract as subtract,
    tanh as tanh,
)
from trnlab.emulator.nki.language.printing import device_print as device_print
from trnlab.emulator.nki.language.random_numbers import dropout as dropout, rand as rand, random_seed as random_seed
from trnlab.emulator.nki.language.reductions import (
    all as all,
    max as max,
    mean as mean,
    min as min,
    prod as prod,
    rms_norm as rms_norm,
    softmax as softmax,
    sum as sum,
    var as var,
)
from trnlab.emulator.nki.language.rounding import (
    ceil as ceil,
    divide as divide,
    floor as floor,
    fmod as fmod,
    mod as mod,
    trunc as trunc,
)
from trnlab.emulator.nki.language.selection import gather_flattened as gather_flattened, where as where
from trnlab.emulator.nki.language.tile_sizes import TileSize as _TileSize, tile_size as tile_size  # noqa: F401
from trnlab.emulator.nki.language.trigonometry import arctan as arctan, cos as cos, sin as sin, tan as tan
from trnlab.emulator.nki.publishing import publish as _publish
from trnlab.emulator.tensor import NKIObject as NKIObject, NkiTensor as NkiTensor

bool = bool_

_publish("nki.language", "nl", globals())
