//! "darts": the published convolutional space (section 2.1 of the DARTS paper).

use crate::space::{CellKind, Operation, Space};

pub(in crate::space) fn space() -> Space {
    Space {
        name: "darts".to_string(),
        kind: CellKind::Convolutional,
        operations: vec![
            Operation::None,
            Operation::MaxPool3x3,
            Operation::AvgPool3x3,
            Operation::SkipConnect,
            Operation::SepConv3x3,
            Operation::SepConv5x5,
            Operation::DilConv3x3,
            Operation::DilConv5x5,
        ],
        nodes: 4,
        concat: vec![2, 3, 4, 5],
        reductions: None,
        stem_multiplier: 3,
    }
}
