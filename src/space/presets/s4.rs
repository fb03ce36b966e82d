//! "s4": noise and separable convolutions only: the harmful candidate is as cheap as it is useless (Zela et al. 2020,
//! section 3).

use super::darts::with_operations;
use crate::space::{Candidates, Domain, Operation, Space};

pub(super) fn space() -> Space {
    let operations = Candidates::Everywhere(vec![Operation::Noise, Operation::SepConv3x3]);
    with_operations("s4", [operations.clone(), operations], Domain::Images)
}
