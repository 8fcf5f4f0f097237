"""The generations of the NeuronCore as records: sizes, clocks, rates, limits, features, each number with its source."""

from trnlab.emulator.target.facts import (
    ANNOUNCED_TRAINIUM4 as ANNOUNCED_TRAINIUM4,
    VARIANTS as VARIANTS,
    Fact as Fact,
    FactClass as FactClass,
    Variant as Variant,
)
from trnlab.emulator.target.features import (
    Engine as Engine,
    Feature as Feature,
    Generation as Generation,
    TargetError as TargetError,
)
from trnlab.emulator.target.policies import (
    NearestEven as NearestEven,
    NumericsPolicy as NumericsPolicy,
    OverflowPolicy as OverflowPolicy,
    Rounding as Rounding,
    Statement as Statement,
    Stochastic as Stochastic,
    SubnormalPolicy as SubnormalPolicy,
)
from trnlab.emulator.target.rates import DMA_EFFICIENCY_CURVE as DMA_EFFICIENCY_CURVE
from trnlab.emulator.target.record import (
    MATMUL_RATES as MATMUL_RATES,
    TARGETS as TARGETS,
    Target as Target,
    get_target as get_target,
    matmul_rate as matmul_rate,
)
