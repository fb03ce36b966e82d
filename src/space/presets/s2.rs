//! "s2": the published cells with skip connections and separable convolutions only (Zela et al. 2020, section 3).

use super::darts::with_operations;
use crate::space::{Candidates, Domain, Operation, Space};

pub(super) fn space() -> Space {
    let operations = Candidates::Everywhere(vec![Operation::SkipConnect, Operation::SepConv3x3]);
    with_operations("s2", [operations.clone(), operations], Domain::Images)
}
