"""An ONNX graph of a ResNet as a torch module: the same weights, every product and sum behind a convolution folded into its filter and bias."""
import numpy as np
import torch
from onnx import helper, numpy_helper
from torch.nn import functional


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def sides(pads):
    """ONNX's begins and ends as functional.pad's last axis first."""
    half = len(pads) // 2
    return [int(pads[i + offset]) for i in reversed(range(half)) for offset in (0, half)]


class Graph(torch.nn.Module):
    def __init__(self, graph):
        super().__init__()
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.input, self.output = graph.input[0].name, graph.output[0].name
        self.steps = []  # (function, names of the tensors it reads, name of what it writes)
        self.readers = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        folded = set()
        for node in graph.node:
            if node.output[0] in folded:
                continue
            if node.op_type == "Conv":
                self.add_convolution(node, folded)
            else:
                self.add_plain(node)

    def tensor(self, array):
        self.register_buffer(f"weights{len(list(self.buffers()))}", torch.from_numpy(np.array(array)))
        return list(self.buffers())[-1]

    def affine(self, node):
        """(scale, shift) per channel when that is what the node does with constants, else None."""
        values = [self.constants[name].reshape(-1) for name in node.input if name in self.constants]
        if node.op_type == "BatchNormalization":
            gamma, beta, mean, variance = values
            scale = gamma / np.sqrt(variance + attributes(node)["epsilon"])
            return scale, beta - mean * scale
        if len(values) == 1 and node.op_type == "Mul":
            return values[0], np.float32(0)
        if len(values) == 1 and node.op_type == "Add":
            return np.float32(1), values[0]
        return None

    def add_convolution(self, node, folded):
        a, output = attributes(node), node.output[0]
        filters = self.constants[node.input[1]]
        bias = self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(filters), np.float32)
        while len(self.readers.get(output, [])) == 1 and (found := self.affine(self.readers[output][0])):
            scale, shift = found
            filters, bias = filters * np.reshape(scale, (-1, 1, 1, 1)), bias * scale + shift
            output = self.readers[output][0].output[0]
            folded.add(output)
        w, b = self.tensor(filters.astype(np.float32)), self.tensor(bias.astype(np.float32))
        pads, stride, groups = a.get("pads", [0] * 4), list(a.get("strides", [1, 1])), a.get("group", 1)
        if list(pads[:2]) == list(pads[2:]):
            step = lambda x: functional.conv2d(x, w, b, stride, list(pads[:2]), 1, groups)
        else:
            step = lambda x: functional.conv2d(functional.pad(x, sides(pads)), w, b, stride, 0, 1, groups)
        self.steps.append((step, [node.input[0]], output))

    def add_plain(self, node):
        a = attributes(node)
        constants = [self.constants[name] for name in node.input if name in self.constants]
        first = constants[0] if constants else None
        kind = node.op_type
        if kind in ("Mul", "Add", "Sub", "MatMul") and constants:
            weights = self.tensor(first)
            step = {"Mul": lambda x: x * weights, "Add": lambda x: x + weights, "Sub": lambda x: x - weights, "MatMul": lambda x: x @ weights}[kind]
        elif kind == "Add":
            step = lambda x, y: x + y
        elif kind == "BatchNormalization":
            scale, shift = (self.tensor(v.astype(np.float32).reshape(1, -1, 1, 1)) for v in self.affine(node))
            step = lambda x: x * scale + shift
        elif kind == "MaxPool":
            pads, window, stride = a.get("pads", [0] * 4), list(a["kernel_shape"]), list(a["strides"])
            step = lambda x: functional.max_pool2d(functional.pad(x, sides(pads), value=float("-inf")) if any(pads) else x, window, stride)
        else:
            step = {
                "Relu": lambda: functional.relu,
                "Transpose": lambda: lambda x: x.permute(list(a["perm"])),
                "Pad": lambda: lambda x: functional.pad(x, sides(first)[:4]),
                "GlobalAveragePool": lambda: lambda x: x.mean((2, 3), keepdim=True),
                "Squeeze": lambda: lambda x: x.flatten(1),
                "Reshape": lambda: lambda x: x.reshape([int(n) for n in first]),
                "Softmax": lambda: lambda x: x.softmax(-1),
            }[kind]()
        self.steps.append((step, [name for name in node.input if name not in self.constants], node.output[0]))

    def forward(self, x):
        values = {self.input: x}
        for step, inputs, output in self.steps:
            values[output] = step(*(values[name] for name in inputs))
        return values[self.output]
