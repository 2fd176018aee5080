"""The public names, for type checkers; `__init__.py` imports each when it is asked for."""

from hybridtrain import datasets as datasets
from hybridtrain.comparison.compare import compare as compare
from hybridtrain.comparison.compared_run import ComparedRun as ComparedRun
from hybridtrain.comparison.comparison import Comparison as Comparison
from hybridtrain.data.files import FileRows as FileRows
from hybridtrain.data.files import read_data as read_data
from hybridtrain.data.files import save_directory as save_directory
from hybridtrain.errors import CoreError as CoreError
from hybridtrain.errors import CoreTimeoutError as CoreTimeoutError
from hybridtrain.errors import DataChangedError as DataChangedError
from hybridtrain.errors import DataWarning as DataWarning
from hybridtrain.errors import DivergedError as DivergedError
from hybridtrain.errors import ForkedError as ForkedError
from hybridtrain.errors import HybridTrainError as HybridTrainError
from hybridtrain.errors import InvalidDataError as InvalidDataError
from hybridtrain.errors import InvalidSettingError as InvalidSettingError
from hybridtrain.errors import MissingPackageError as MissingPackageError
from hybridtrain.errors import OutOfMemoryError as OutOfMemoryError
from hybridtrain.errors import TrainingInterrupted as TrainingInterrupted
from hybridtrain.models.linear import Linear as Linear
from hybridtrain.observe.records import EpochRecord as EpochRecord
from hybridtrain.observe.records import LedgerRecord as LedgerRecord
from hybridtrain.observe.records import Staleness as Staleness
from hybridtrain.observe.records import WorkerReport as WorkerReport
from hybridtrain.optimizers.adagrad import AdaGrad as AdaGrad
from hybridtrain.optimizers.adam import Adam as Adam
from hybridtrain.optimizers.base import Optimizer as Optimizer
from hybridtrain.optimizers.ftrl import FTRL as FTRL
from hybridtrain.optimizers.rmsprop import RMSProp as RMSProp
from hybridtrain.optimizers.schedules import Constant as Constant
from hybridtrain.optimizers.schedules import Cosine as Cosine
from hybridtrain.optimizers.schedules import Exponential as Exponential
from hybridtrain.optimizers.schedules import InverseScaling as InverseScaling
from hybridtrain.optimizers.schedules import LinearDecay as LinearDecay
from hybridtrain.optimizers.schedules import Schedule as Schedule
from hybridtrain.optimizers.schedules import Warmup as Warmup
from hybridtrain.optimizers.sgd import SGD as SGD
from hybridtrain.run.result import Result as Result
from hybridtrain.run.result import load as load
from hybridtrain.strategies.base import Strategy as Strategy
from hybridtrain.strategies.hogwild import Hogwild as Hogwild
from hybridtrain.strategies.hybrid import Hybrid as Hybrid
from hybridtrain.strategies.sync import Sync as Sync
from hybridtrain.training import train as train

__version__: str
