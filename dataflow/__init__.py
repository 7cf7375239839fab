"""What is computed: computations, operators, their scalar dataflow and their reference meaning. Knows no hardware."""

from dataflow.computation import Computation, Dim, Tensor
from dataflow.epilogue import bias_relu, requantise
from dataflow.errors import UserError
from dataflow.inference import infer, infer_all
from dataflow.library import LIBRARY, batched_gemm, conv1d, conv2d, conv3d, depthwise_conv2d, gemm, gemv
from dataflow.notation import NotationError, parse
from dataflow.operator import Operator
from dataflow.reference import evaluate

__all__ = [
    "LIBRARY",
    "Computation",
    "Dim",
    "NotationError",
    "Operator",
    "Tensor",
    "UserError",
    "batched_gemm",
    "bias_relu",
    "conv1d",
    "conv2d",
    "conv3d",
    "depthwise_conv2d",
    "evaluate",
    "gemm",
    "gemv",
    "infer",
    "infer_all",
    "parse",
    "requantise",
]
