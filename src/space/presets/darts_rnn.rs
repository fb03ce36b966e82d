//! "darts-rnn": the published recurrent space (section 3.1.2 of the DARTS paper).

use crate::space::{CellKind, Operation, Space};

pub(in crate::space) fn space() -> Space {
    Space {
        name: "darts-rnn".to_string(),
        kind: CellKind::Recurrent,
        operations: vec![Operation::None, Operation::Tanh, Operation::Relu, Operation::Sigmoid, Operation::Identity],
        nodes: 8,
        concat: vec![1, 2, 3, 4, 5, 6, 7, 8],
        reductions: None,
        stem_multiplier: 1,
    }
}
