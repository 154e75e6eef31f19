"""Places of operations, from paths as TensorFlow and Keras make them."""

import pytest
from mem_dfa.profiling.recording.held_tensors import Names
from mem_dfa.profiling.timeline.attribution import Attribution, Place, variables_of_updates

CALL = "StatefulPartitionedCall/"
NET = Names(
    layers=frozenset({"conv", "conv_1", "block_1_expand", "bn"}), optimizers=frozenset({"mine"})
)


def place(path: str, names: Names = NET, scope: str = "", region: str = "output") -> Place:
    return Attribution(names).place(path, scope, region)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # Keras numbers a scope even when it is the first: conv_1 is layer conv, conv_1_1 conv_1.
        (CALL + "net_1/conv_1/BiasAdd", Place("conv", "conv", "forward", "activation")),
        (CALL + "net_1/conv_1_1/BiasAdd", Place("conv_1", "conv_1", "forward", "activation")),
        ("net_1/bn_1/batchnorm/mul", Place("bn", "bn", "forward", "activation")),
        (
            "gradient_tape/net_1/conv_1_1/convolution/Conv2DBackpropInput",
            Place("conv_1", "conv_1", "backward", "gradient"),
        ),
        (
            "gradient_tape/replay/block_004/conv_1_1/convolution/Conv2DBackpropFilter",
            Place("conv_1", "block_004", "backward", "gradient"),
        ),
        (
            "replay/block_004/conv_1_1/convolution",
            Place("conv_1", "block_004", "replay", "activation"),
        ),
        ("backward/block_004/matmul", Place("", "block_004", "backward", "gradient")),
        ("update/block_004/sgd/Mul_3", Place("", "block_004", "update", "temporary")),
        ("update/sgd/Mul_3", Place("", "", "update", "temporary")),
        ("adam/Mul_3", Place("", "", "update", "temporary")),
        ("mine_1/Mul_3", Place("", "", "update", "temporary")),
        ("Mine_1/Mul_3", Place("", "", "update", "temporary")),
        ("compile_loss/mse/sub", Place("", "loss", "forward", "activation")),
        ("gradient_tape/compile_loss/mse/sub", Place("", "loss", "backward", "gradient")),
        ("Equal", Place("", "", "other", "temporary")),
        ("", Place("", "", "other", "temporary")),
    ],
)
def test_place_of_a_path(path: str, expected: Place) -> None:
    assert place(path) == expected


def test_a_kernels_own_scratch_is_temporary() -> None:
    assert place("net_1/conv_1/BiasAdd", region="temp").category == "temporary"


def test_without_a_model_the_numbered_part_is_the_layer() -> None:
    assert place("net_1/block_1_expand_1/convolution", Names()).layer == "block_1_expand"
    assert place("replay/block_004/conv_4_1/convolution", Names()) == Place(
        "conv_4", "block_004", "replay", "activation"
    )
    assert place("adam_1/Mul", Names()).layer == ""


def test_spans_place_eager_operations() -> None:
    assert place("Conv2D", scope="net_1/conv_1_1") == Place(
        "conv_1", "conv_1", "forward", "activation"
    )
    assert place("Conv2DBackpropInput", scope="gradient_tape").phase == "backward"
    assert place("Mul", scope="update/block_002/adam").block == "block_002"


def test_a_layers_block_is_learnt_from_its_scopes() -> None:
    attribution = Attribution(NET)
    attribution.place("replay/block_002/conv_1/convolution", "", "output")
    assert attribution.block_of_layer("conv") == "block_002"
    assert attribution.block_of_layer("bn") == "bn"


SHAPES = ["[3,3]", "[3]", "[3,3]", "[3]", "[3,9]"]


def test_the_optimizers_operations_are_counted_off() -> None:
    # Two products a variable, as each of five variables in turn takes them; not all allocate.
    operations = [(f"adam/Mul_{2 * number + 1}", shape) for number, shape in enumerate(SHAPES)]
    operations += [("adam/Mul", SHAPES[0]), ("adam/Square", "[3,3]"), ("adam/Square_4", "[3,9]")]
    assert variables_of_updates(operations, SHAPES) == {
        "adam/Mul": 0,
        "adam/Mul_1": 0,
        "adam/Mul_3": 1,
        "adam/Mul_5": 2,
        "adam/Mul_7": 3,
        "adam/Mul_9": 4,
        "adam/Square": 0,
        "adam/Square_4": 4,
    }


def test_counting_gives_up_where_shapes_do_not_tell() -> None:
    assert variables_of_updates([("adam/Mul_1", "[7]")], SHAPES) == {}
    assert variables_of_updates([("adam/Mul", "[3,3]")], SHAPES) == {}  # any number would fit


def test_an_optimizers_operation_gets_its_variables_layer() -> None:
    names = Names(layers=frozenset("ab"), variables=(("[2]", "a"), ("[3]", "b"), ("[2]", "b")))
    operations = [(f"sgd/Mul_{number}", shape) for number, (shape, _) in enumerate(names.variables)]
    attribution = Attribution(names, operations)
    assert [attribution.place(op, "", "output").layer for op, _ in operations] == ["a", "b", "b"]
