//! "darts": the published convolutional space (section 2.1 of the DARTS paper).

use crate::space::{
    Aggregate, Candidates, CellSpec, Domain, Head, Keep, Layers, NetworkSpec, Operation, Output, Preprocess, Space,
    Stages, Stem,
};

pub(super) fn space() -> Space {
    let operations = vec![
        Operation::None,
        Operation::MaxPool3x3,
        Operation::AvgPool3x3,
        Operation::SkipConnect,
        Operation::SepConv3x3,
        Operation::SepConv5x5,
        Operation::DilConv3x3,
        Operation::DilConv5x5,
    ];
    let operations = Candidates::Everywhere(operations);
    with_operations("darts", [operations.clone(), operations], Domain::Images)
}

/// The published cells and network with other candidates in the normal and the reduction cell.
pub(super) fn with_operations(name: &str, operations: [Candidates; 2], domain: Domain) -> Space {
    let [normal, reduce] = operations;
    let cell = |name, operations| CellSpec {
        name,
        inputs: 2,
        nodes: 4,
        preprocess: Preprocess::Project,
        aggregate: Aggregate::Sum,
        output: Output::Concat(vec![2, 3, 4, 5]),
        keep: Keep::Strongest(2),
        none_selectable: false,
        operations,
        layers: Layers::DARTS,
    };
    Space {
        name: name.to_string(),
        cells: vec![cell("normal", normal), cell("reduce", reduce)],
        network: NetworkSpec {
            stem: Stem::Convolution { multiplier: 3, domain },
            stages: Stages::Chain { reductions: None },
            head: Head::Classifier,
        },
        own_operations: Default::default(),
    }
}
