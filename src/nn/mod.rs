//! Networks: functions (w, α, batch) ↦ loss. Everything above this storey sees only the trait.

mod buffers;
mod gradients;
mod interpreter;
mod kernels;
mod networks;
mod precision;

use tch::{Device, Kind, Tensor};

use gradients::{gradient, leaf};

use crate::config::Method;
use crate::data::Batch;
use crate::error::Result;
use crate::params::Table;
use crate::plan::Peak;

pub use buffers::Statistics;
pub use gradients::{By, Gradients};
pub use kernels::cross_entropy::{Decoder, Scored};
pub use kernels::depthwise::{Depthwise, Number};
pub use kernels::gates::Mixture;
pub use networks::dropout::{Dropout, Masks};
pub use networks::language::{LanguageModel, LanguageOptions};
pub use networks::options::{Criterion, NetworkOptions};
pub use networks::search_network::SearchNetwork;
pub use networks::supernet::Supernet;
pub use precision::{MatrixPrecision, Numbers};

/// Which batch statistics a pass uses, and whether it moves the running ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics; the running ones stay. Every loss of an α step.
    Search,
    /// Batch statistics; the running ones move by one step. The weight step.
    Weights,
    /// Running statistics. Evaluation.
    Evaluation,
}

/// What one pass gives.
#[derive(Debug)]
pub struct Loss {
    /// The scalar to differentiate.
    pub value: Tensor,
    /// How many examples were predicted right: a scalar outside the graph, left on the device.
    pub correct: Tensor,
    /// What the batch leaves for the next one of its stream: a hidden state, outside the graph. None where batches
    /// have nothing to do with each other.
    pub carried: Option<Tensor>,
}

/// A function (w, α, batch) ↦ loss over two flat vectors. The engine, the hypergradients, the optimisers and
/// the checkpoints know nothing else of a network.
pub trait Network {
    /// Names and shapes inside w.
    fn weights(&self) -> &Table;
    /// Names and shapes inside α.
    fn alphas(&self) -> &Table;
    /// Running statistics by name, none if the network keeps none.
    fn statistics(&self) -> Option<&Statistics>;
    /// The loss of a batch, differentiable in `w` and `alpha` where they ask for gradients.
    fn loss(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss>;
    /// The loss of a batch and its gradients.
    fn gradients(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        gradients::of_loss(self, w, alpha, batch, mode, by)
    }
    /// ∇²_{α,w} L(w, α)·direction = ∇_α (∇_w L·direction), with batch statistics, flat.
    fn hessian_product(&self, w: &Tensor, alpha: &Tensor, direction: &Tensor, batch: &Batch) -> Result<Tensor> {
        let (w, alpha) = (leaf(w)?, leaf(alpha)?);
        let loss = self.loss(&w, &alpha, batch, Mode::Search)?.value;
        let of_w = Tensor::f_run_backward(&[&loss], &[&w], true, true)?;
        gradient(&of_w[0].f_dot(direction)?, &alpha)
    }
    /// What a stream carries to its first batch, which is one like this: zeros. None where batches have nothing to do
    /// with each other.
    fn beginning(&self, _batch: &Batch) -> Result<Option<Tensor>> {
        Ok(None)
    }
    /// Draws what is random in a search step, for all its losses: a function of the step.
    fn draw(&self, _step: u64) -> Result<()> {
        Ok(())
    }
    /// While on, every product is computed in float32 or better, whatever the precision of the rest: the
    /// finite difference multiplies rounding by 1/ε.
    fn set_exact(&self, on: bool) -> Result<()>;
    /// Element type of w and α.
    fn kind(&self) -> Kind;
    /// Where w, α and the batches lie.
    fn device(&self) -> Device;
    /// The estimate of the memory that a search step by `method` takes at its peak.
    fn peak(&self, method: Method) -> Peak;
}

/// Holds a network in its exact mode; leaves it when dropped.
pub struct Exact<'a>(&'a dyn Network);

impl<'a> Exact<'a> {
    /// Enters the exact mode.
    pub fn enter(network: &'a dyn Network) -> Result<Self> {
        network.set_exact(true)?;
        Ok(Exact(network))
    }
}

impl Drop for Exact<'_> {
    fn drop(&mut self) {
        // Leaving cannot fail where entering did not; a failure here would only cost speed.
        let _ = self.0.set_exact(false);
    }
}
