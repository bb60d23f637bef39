"""Make the model that ships with the product from the public weights of all-MiniLM-L6-v2.

    pip install onnx onnxruntime safetensors
    python tools/make_minilm.py model.safetensors vocab.txt mq9_mcp/routing/minilm

The graph uses ONNX Runtime's own operators, built weight by weight (no other framework is needed). Then
MatMul and Attention become 8-bit by channel, the word embeddings by row: 23.5 MB instead of 90.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12
OPERATORS = "com.microsoft"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


class Graph:
    """Nodes and constants as they are added."""

    def __init__(self, weights: dict[str, Any]) -> None:
        import onnx

        self.onnx = onnx
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        """Add a constant; returns its name."""
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(
        self, operator: str, inputs: list[str], outputs: list[str], own: bool = False, **more: Any
    ) -> None:
        """Add a node; ``own``: of ONNX Runtime's operators."""
        domain = {"domain": OPERATORS} if own else {}
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, **domain, **more))


def build(weights: dict[str, Any]) -> Any:
    """The model in 32-bit numbers: token numbers in, a vector of length 1 for each text out."""
    graph = Graph(weights)
    words = graph.constant("we", weights["embeddings.word_embeddings.weight"])
    places = graph.constant("pe", weights["embeddings.position_embeddings.weight"])
    types = graph.constant("te", weights["embeddings.token_type_embeddings.weight"])
    gamma = graph.constant("eg", weights["embeddings.LayerNorm.weight"])
    beta = graph.constant("eb", weights["embeddings.LayerNorm.bias"])
    graph.add(
        "EmbedLayerNormalization",
        ["input_ids", "token_type_ids", words, places, types, gamma, beta],
        ["x0", "mi_unused"],
        own=True,
        epsilon=EPSILON,
    )
    hidden = "x0"
    for index in range(LAYERS):
        hidden = add_layer(graph, index, hidden)
    add_pooling(graph, hidden)
    helper, kinds = graph.onnx.helper, graph.onnx.TensorProto
    inputs = [helper.make_tensor_value_info(name, kinds.INT32, ["b", "s"]) for name in INPUTS]
    outputs = [helper.make_tensor_value_info("embedding", kinds.FLOAT, ["b", WIDTH])]
    made = helper.make_graph(graph.nodes, "minilm", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(OPERATORS, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def add_layer(graph: Graph, index: int, hidden: str) -> str:
    """One layer of the encoder; returns the name of what comes out."""
    i, prefix = index, f"encoder.layer.{index}."

    def weight(name: str, short: str, turned: bool = False) -> str:
        value = graph.weights[prefix + name]
        return graph.constant(f"{short}{i}", value.T if turned else value)

    parts = [f"{prefix}attention.self.{name}" for name in ("query", "key", "value")]
    joined = np.concatenate([graph.weights[f"{part}.weight"].T for part in parts], 1)
    biases = np.concatenate([graph.weights[f"{part}.bias"] for part in parts])
    attention = [hidden, graph.constant(f"qw{i}", joined), graph.constant(f"qb{i}", biases), "attention_mask"]
    graph.add("Attention", attention, [f"a{i}"], own=True, num_heads=HEADS, name=f"att{i}")
    projected = weight("attention.output.dense.weight", "ow", turned=True)
    graph.add("MatMul", [f"a{i}", projected], [f"p{i}"], name=f"mo{i}")
    normed = [
        weight("attention.output.LayerNorm.weight", "ag"),
        weight("attention.output.LayerNorm.bias", "ab"),
        weight("attention.output.dense.bias", "ob"),
    ]
    graph.add("SkipLayerNormalization", [f"p{i}", hidden, *normed], [f"y{i}"], own=True, epsilon=EPSILON)
    wide = weight("intermediate.dense.weight", "iw", turned=True)
    graph.add("MatMul", [f"y{i}", wide], [f"h{i}"], name=f"mi{i}")
    graph.add("BiasGelu", [f"h{i}", weight("intermediate.dense.bias", "ib")], [f"g{i}"], own=True)
    graph.add("MatMul", [f"g{i}", weight("output.dense.weight", "fw", turned=True)], [f"o{i}"], name=f"mf{i}")
    normed = [
        weight("output.LayerNorm.weight", "fg"),
        weight("output.LayerNorm.bias", "fb"),
        weight("output.dense.bias", "fo"),
    ]
    graph.add("SkipLayerNormalization", [f"o{i}", f"y{i}", *normed], [f"z{i}"], own=True, epsilon=EPSILON)
    return f"z{i}"


def add_pooling(graph: Graph, hidden: str) -> None:
    """The mean over the tokens of a text, brought to length 1."""
    graph.constant("ax2", np.array([2], np.int64))
    graph.constant("ax1", np.array([1], np.int64))
    graph.add("Cast", ["attention_mask"], ["mf"], to=graph.onnx.TensorProto.FLOAT)
    graph.add("Unsqueeze", ["mf", "ax2"], ["m3"])
    graph.add("Mul", [hidden, "m3"], ["xm"])
    graph.add("ReduceSum", ["xm", "ax1"], ["s"], keepdims=0)
    graph.add("ReduceSum", ["mf", "ax1"], ["n"], keepdims=1)
    graph.add("Div", ["s", "n"], ["mean"])
    graph.add("LpNormalization", ["mean"], ["embedding"], axis=-1, p=2)


def quantize(whole: Path, small: Path) -> None:
    """The model in 8-bit numbers."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(whole),
        str(small),
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": 1},
        op_types_to_quantize=["MatMul", "Attention"],
    )
    model = onnx.load(str(small))
    quantize_words(onnx, model.graph)
    onnx.save(model, str(small))


def quantize_words(onnx: Any, graph: Any) -> None:
    """The word embeddings by row, with the nodes that undo it."""
    helper, arrays = onnx.helper, onnx.numpy_helper
    words = next(one for one in graph.initializer if one.name == "we")
    values = arrays.to_array(words)
    scale = np.abs(values).max(1, keepdims=True) / 127
    rounded = np.round(values / np.maximum(scale, EPSILON)).astype(np.int8)
    graph.initializer.remove(words)
    constants = {
        "we_q": rounded,
        "we_s": scale.astype(np.float32),
        "ax0c": np.array([0], np.int64),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
    }
    graph.initializer.extend([arrays.from_array(value, name) for name, value in constants.items()])
    graph.node.remove(next(node for node in graph.node if node.op_type == "EmbedLayerNormalization"))
    made = [
        helper.make_node("Gather", ["we_q", "input_ids"], ["w8"]),
        helper.make_node("Cast", ["w8"], ["wf"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", ["we_s", "input_ids"], ["ws"]),
        helper.make_node("Mul", ["wf", "ws"], ["wd"]),
        helper.make_node("Gather", ["te", "token_type_ids"], ["tt"]),
        helper.make_node("Shape", ["input_ids"], ["shp"]),
        helper.make_node("Gather", ["shp", "one"], ["sl"]),
        helper.make_node("Unsqueeze", ["sl", "ax0c"], ["slu"]),
        helper.make_node("Slice", ["pe", "ax0c", "slu", "ax0c"], ["pp"]),
        helper.make_node("Add", ["wd", "tt"], ["e1"]),
        helper.make_node("Add", ["e1", "pp"], ["e2"]),
        helper.make_node("LayerNormalization", ["e2", "eg", "eb"], ["x0"], axis=-1, epsilon=EPSILON),
    ]
    nodes = made + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def make(weights_file: Path, vocabulary: Path, folder: Path) -> None:
    """Write the model, its vocabulary and their sums into ``folder``."""
    import onnx
    from safetensors.numpy import load_file

    if hashlib.sha256(weights_file.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise SystemExit(f"{weights_file}: not the public weights; their sha256 is {WEIGHTS_SHA256}")
    loaded = load_file(str(weights_file))
    weights = {
        name.removeprefix("bert."): value.astype(np.float32)
        for name, value in loaded.items()
        if value.dtype != np.int64
    }
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "model.onnx"
        onnx.save(build(weights), str(whole))
        quantize(whole, folder / "model.int8.onnx")
    (folder / "vocab.txt").write_bytes(vocabulary.read_bytes())
    sums = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("model.int8.onnx", "vocab.txt")
    ]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="ascii")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    make(*map(Path, sys.argv[1:]))
