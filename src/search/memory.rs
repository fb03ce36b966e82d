//! Says, when memory runs out, what the plan expected and which batch size to try.

use crate::error::{Error, ErrorKind};
use crate::plan::Peak;

/// Adds the plan's estimate to an out-of-memory error; leaves every other error as it is.
pub fn with_estimate(error: Error, peak: Peak, batch: i64) -> Error {
    if error.kind != ErrorKind::OutOfMemory {
        return error;
    }
    const GIB: f64 = (1u64 << 30) as f64;
    let estimate = peak.of(batch.max(0) as usize) as f64 / GIB;
    let remedy = match batch {
        0..2 => "use fewer channels, cells or smaller images".to_owned(),
        _ => format!("try batch_size={}", batch / 2),
    };
    let detail = format!(
        "out of memory: the plan estimates {estimate:.2} GiB for a search step with a batch of {batch}; {remedy}. \
         ({})",
        error.detail
    );
    Error { detail, ..error }
}
