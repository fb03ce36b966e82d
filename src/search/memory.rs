//! Which batch fits into memory; when memory runs out, what the plan expected and which batch to try.

use std::path::Path;

use crate::checkpoint;
use crate::config::SearchConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::nn::NetworkOptions;
use crate::plan::{Peak, Plan};

const GIB: f64 = (1u64 << 30) as f64;

/// Adds the plan's estimate to an out-of-memory error; leaves every other error as it is.
pub fn with_estimate(error: Error, peak: Peak, batch: i64) -> Error {
    if error.kind != ErrorKind::OutOfMemory {
        return error;
    }
    let estimate = peak.of(batch.max(0) as usize) as f64 / GIB;
    let remedy = match batch {
        0..2 => "use a smaller network or smaller inputs".to_owned(),
        _ => format!("try batch_size={}", batch / 2),
    };
    let detail = format!(
        "out of memory: the plan estimates {estimate:.2} GiB for a search step with a batch of {batch}; {remedy}. \
         ({})",
        error.detail
    );
    Error { detail, ..error }
}

/// Says of an out-of-memory error that it came in the evaluation; leaves every other error as it is.
pub fn in_evaluation(error: Error, batch: i64) -> Error {
    if error.kind != ErrorKind::OutOfMemory {
        return error;
    }
    let detail = format!(
        "out of memory in the evaluation, with a batch of {batch}; set a smaller eval_batch_size, or of a loader its own \
         batch size. ({})",
        error.detail
    );
    Error { detail, ..error }
}

/// The batch size for a configuration that leaves it to the memory: that of the checkpoint that it goes on from, or the
/// largest of at most `most` examples that fits into `free` bytes.
pub fn batch_size(config: &SearchConfig, options: &NetworkOptions, most: usize, free: u64) -> Result<usize> {
    if let Some(folder) = config.execution.checkpoint_dir.as_deref().filter(|_| config.execution.resume)
        && let Some(newest) = checkpoint::checkpoints(Path::new(folder))?.last()
    {
        return Ok(checkpoint::load_config(newest)?.data.batch_size.examples());
    }
    let plan = options.rewrite(Plan::of_config(config)?)?;
    fitting_batch(options.peak(&plan, config.optimisation.hypergradient), most, free)
}

/// The largest batch tried where the search chooses it: beyond, the published learning rates no longer suit.
const MOST: usize = 256;

/// Of the memory that is free, the share that a step may plan to take.
const SHARE: f64 = 0.8;

/// The largest power of two, up to `most` and to 256, of which a step fits into `free` bytes.
pub fn fitting_batch(peak: Peak, most: usize, free: u64) -> Result<usize> {
    let room = (free as f64 * SHARE) as u64;
    let sizes = std::iter::successors(Some(2usize), |size| Some(2 * size)).take_while(|size| *size <= MOST.min(most));
    let fitting = sizes.filter(|size| peak.of(*size) <= room).last();
    fitting.ok_or_else(|| {
        Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "no batch fits: a search step with 2 examples takes {:.2} GiB by the plan's estimate, {:.2} GiB of the \
                 free memory may be used, and there are {most} examples; use a smaller network or smaller inputs, \
                 or memory=\"recompute\"",
                peak.of(2) as f64 / GIB,
                room as f64 / GIB
            ),
        )
    })
}
