//! "s3": the candidates of "s2", and `none` (Zela et al. 2020, section 3).

use super::darts::with_operations;
use crate::space::{Candidates, Domain, Operation, Space};

pub(super) fn space() -> Space {
    let operations = Candidates::Everywhere(vec![Operation::None, Operation::SkipConnect, Operation::SepConv3x3]);
    with_operations("s3", [operations.clone(), operations], Domain::Images)
}
