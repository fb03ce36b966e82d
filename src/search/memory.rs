//! Batch sizes that fit into memory, and explanations of out-of-memory errors.

use std::path::Path;

use crate::checkpoint;
use crate::config::SearchConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::nn::NetworkOptions;
use crate::plan::{Peak, Plan};

const GIB: f64 = (1u64 << 30) as f64;

/// Adds the estimate, if there is one, to an out-of-memory error; returns other errors unchanged.
pub fn with_estimate(error: Error, peak: Option<Peak>, batch: i64) -> Error {
    let Some(peak) = peak.filter(|_| error.kind == ErrorKind::OutOfMemory) else { return error };
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

/// Adds to an out-of-memory error that it occurred in evaluation; returns other errors unchanged.
pub fn in_evaluation(error: Error, batch: i64) -> Error {
    if error.kind != ErrorKind::OutOfMemory {
        return error;
    }
    let detail = format!(
        "out of memory in evaluation with a batch of {batch}; set a smaller eval_batch_size, or a smaller batch size of \
         the loader. ({})",
        error.detail
    );
    Error { detail, ..error }
}

/// The batch size for a configuration that leaves it open: that of the checkpoint to resume from, or the largest of at
/// most `most` examples that fits into `free` bytes.
pub fn batch_size(config: &SearchConfig, options: &NetworkOptions, most: usize, free: u64) -> Result<usize> {
    if let Some(folder) = config.execution.checkpoint_dir.as_deref().filter(|_| config.execution.resume.wanted())
        && let Some(newest) = checkpoint::checkpoints(Path::new(folder))?.last()
    {
        return Ok(checkpoint::load_config(newest)?.0.data.batch_size.examples());
    }
    let plan = options.rewrite(Plan::of_config(config, options.makers())?)?;
    fitting_batch(options.peak(&plan, config.optimisation.largest_method()), most, free)
}

/// The largest batch that is chosen automatically: beyond it, the published learning rates are no longer suitable.
const MAX_BATCH: usize = 256;

/// The share of the free memory that a step may use.
const SHARE: f64 = 0.8;

/// The largest power of two, at most `most` and 256, such that a step on such a batch fits into `free` bytes.
pub fn fitting_batch(peak: Peak, most: usize, free: u64) -> Result<usize> {
    let usable = (free as f64 * SHARE) as u64;
    let sizes =
        std::iter::successors(Some(2usize), |size| Some(2 * size)).take_while(|size| *size <= MAX_BATCH.min(most));
    let fitting = sizes.filter(|size| peak.of(*size) <= usable).last();
    fitting.ok_or_else(|| {
        Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "no batch fits: a search step with 2 examples takes {:.2} GiB by the plan's estimate, {:.2} GiB of the \
                 free memory may be used, and there are {most} examples; use a smaller network or smaller inputs, \
                 or memory=\"recompute\"",
                peak.of(2) as f64 / GIB,
                usable as f64 / GIB
            ),
        )
    })
}
