//! Buffers: named tensors that the weight step moves and that are no weights, such as running statistics and counts.

mod named;
mod statistics;

use tch::Tensor;

use crate::error::Result;

pub use named::NamedBuffers;
pub use statistics::{EPSILON, Followers, MOMENTUM, Running, Statistics};

/// The buffers of a network. They move in the weight step only, and no tensor is ever replaced, so that a captured step
/// finds them. Of several micro-batches each begins with the same buffers: floating ones move by the mean, others as
/// the last micro-batch moves them.
pub trait Buffers {
    /// All buffers, not copied; one tensor may hold several.
    fn tensors(&self) -> Vec<&Tensor>;
    /// Copies by name, as state dicts and files hold them.
    fn named(&self) -> Result<Vec<(String, Tensor)>>;
    /// Whether a buffer of a user's module has this name.
    fn holds(&self, _name: &str) -> bool {
        false
    }
    /// Checks tensors by name: [`Buffers::load`] would accept them.
    fn check(&self, tensors: &[(String, Tensor)]) -> Result<()>;
    /// Overwrites the buffers; an error leaves them as they are.
    fn load(&self, tensors: &[(String, Tensor)]) -> Result<()>;
    /// The buffers that checkpoints of format 2 lack, as they are after `steps` steps.
    fn added_since_format_2(&self, _steps: u64) -> Vec<(String, Tensor)> {
        Vec::new()
    }
}
