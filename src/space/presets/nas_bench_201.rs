//! "nas-bench-201": one cell of four nodes in a residual network (Dong & Yang, "NAS-Bench-201", ICLR 2020; the topology
//! space of NATS-Bench). Every edge keeps its strongest candidate, which may be `none`.

use crate::space::{
    Aggregate, Candidates, CellSpec, Domain, Head, Keep, Layers, NetworkSpec, Operation, Output, Preprocess, Space,
    Stages, Stem,
};

pub(super) fn space() -> Space {
    let operations = vec![
        Operation::None,
        Operation::SkipConnect,
        Operation::NorConv1x1,
        Operation::NorConv3x3,
        Operation::AvgPool3x3,
    ];
    let network = NetworkSpec {
        stem: Stem::Convolution { multiplier: 1, domain: Domain::Images },
        stages: Stages::Residual { stages: 3 },
        head: Head::NormalizedClassifier,
    };
    with_network("nas-bench-201", operations, network)
}

/// The published cell with these candidates, in a network.
pub(super) fn with_network(name: &str, operations: Vec<Operation>, network: NetworkSpec) -> Space {
    let cell = CellSpec {
        name: "cell",
        inputs: 1,
        nodes: 3,
        preprocess: Preprocess::Nothing,
        aggregate: Aggregate::Sum,
        output: Output::Last,
        keep: Keep::EveryEdge,
        none_selectable: true,
        operations: Candidates::Everywhere(operations),
        layers: Layers { pooling_norm: false, affine: false, bias: false },
    };
    Space { name: name.to_string(), cells: vec![cell], network, own_operations: Default::default() }
}
