//! "darts-rnn": the published recurrent space (section 3.1.2 of the DARTS paper).

use crate::space::{
    Aggregate, Candidates, CellSpec, Head, Keep, Layers, NetworkSpec, Operation, Output, Preprocess, Space, Stages,
    Stem,
};

pub(super) fn space() -> Space {
    let operations = vec![Operation::None, Operation::Tanh, Operation::Relu, Operation::Sigmoid, Operation::Identity];
    let cell = CellSpec {
        name: "recurrent",
        inputs: 1,
        nodes: 8,
        preprocess: Preprocess::Gate,
        aggregate: Aggregate::NormalizedSum,
        output: Output::Mean(vec![1, 2, 3, 4, 5, 6, 7, 8]),
        keep: Keep::Strongest(1),
        none_selectable: false,
        operations: Candidates::Everywhere(operations),
        layers: Layers::DARTS,
    };
    let network = NetworkSpec { stem: Stem::Embedding, stages: Stages::Recurrence, head: Head::TiedDecoder };
    Space { name: "darts-rnn".to_string(), cells: vec![cell], network, own_operations: Default::default() }
}
