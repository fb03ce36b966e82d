//! "darts-1d": the published convolutional space for sequences [C, L], as most public code for time series has it.

use super::darts::with_operations;
use crate::space::{Candidates, Domain, Operation, Space};

pub(super) fn space() -> Space {
    let operations = Candidates::Everywhere(vec![
        Operation::None,
        Operation::MaxPool3,
        Operation::AvgPool3,
        Operation::SkipConnect,
        Operation::SepConv3,
        Operation::SepConv5,
        Operation::DilConv3,
        Operation::DilConv5,
    ]);
    with_operations("darts-1d", [operations.clone(), operations], Domain::Sequences { causal: false })
}
