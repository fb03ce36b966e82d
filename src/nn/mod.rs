//! Networks: functions from (w, m, batch) to a loss, where m are the mixing weights that a relaxation makes of α. The
//! layers above depend on the trait [`Network`] and on [`Relaxed`], a network with its relaxation.

mod buffers;
mod gradients;
mod interpreter;
mod kernels;
mod networks;
mod precision;
mod relaxed;

use tch::{Device, Kind, Tensor};

use crate::config::Method;
use crate::data::Batch;
use crate::error::Result;
use crate::event::Metrics;
use crate::params::Table;
use crate::plan::Peak;

pub use buffers::{Buffers, NamedBuffers, Statistics};
pub use gradients::{Along, By, Gradients};
pub use kernels::cross_entropy::{Decoder, DecoderLoss};
pub use kernels::depthwise::Depthwise;
pub use kernels::gates::GateMixture;
pub use kernels::parallel::Number;
pub use networks::drop::{DropMasks, DropOptions};
pub use networks::dropout::{Dropout, Masks};
pub use networks::language::LanguageModel;
pub use networks::noise::Noise;
pub use networks::options::{Criterion, LanguageOptions, Measure, NetworkOptions};
pub use networks::reach::{Path, Reach};
pub use networks::search_network::SearchNetwork;
pub use networks::supernet::Supernet;
pub use networks::user_operation::{OwnModules, Started};
pub use precision::{Arithmetic, MatrixPrecision, Numbers};
pub use relaxed::{ArchHessian, Division, Draw, Parts, Relaxations, Relaxed, Role};

/// Which statistics a pass normalises by, and whether it moves buffers such as running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics; buffers do not move. Every loss of an α step.
    Search,
    /// Batch statistics; buffers move by one step. The weight step.
    Weights,
    /// Running statistics. Evaluation.
    Evaluation,
}

/// The result of one pass.
#[derive(Debug)]
pub struct Loss {
    /// The scalar to differentiate.
    pub value: Tensor,
    /// The number of correct predictions, a detached scalar on the device; an example with several targets counts as the
    /// fraction that is correct. None if the network does not predict classes.
    pub correct: Option<Tensor>,
    /// The hidden state with which the next batch of the stream continues, detached. None if batches are independent.
    pub carried: Option<Tensor>,
}

impl Loss {
    /// A scalar without predictions and without a hidden state.
    pub fn alone(value: Tensor) -> Loss {
        Loss { value, correct: None, carried: None }
    }

    /// The same without its graph, whose small objects would stay where the heap needs large blocks.
    pub fn detached(self) -> Result<Loss> {
        Ok(Loss { value: self.value.f_detach()?, ..self })
    }
}

/// A loss as a function of two flat vectors, weights w and mixing weights m, and a batch. m is laid out as α is, table
/// after table, and ends with tables that do not depend on α. Engine, hypergradients, optimisers and checkpoints use a network through this trait only.
pub trait Network {
    /// The names and shapes of the weights in w.
    fn weights(&self) -> &Table;
    /// The names and shapes of the tables in α.
    fn alphas(&self) -> &Table;
    /// The names and shapes of the tables in m: those of α in their order, then constant ones.
    fn mixing(&self) -> &Table {
        self.alphas()
    }
    /// The elements of w that take part in a loss with these mixing weights, one-hot rows or zeros; None: all. The other
    /// elements and their momentum do not move in a step. Only asked where a relaxation samples operations.
    fn touched(&self, _m: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }
    /// What the weight step moves besides w; None if the network has no buffers.
    fn buffers(&self) -> Option<&dyn Buffers> {
        None
    }
    /// The loss of a batch, differentiable with respect to `w` and `m` if they require gradients.
    fn loss(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss>;
    /// The loss of a batch and its gradients; `By::Alpha` asks for that of m.
    fn gradients(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        gradients::of_loss(self, w, m, batch, mode, by)
    }
    /// The derivative of the loss along a direction, ∇_w L·along.w + ∇_m L·along.m, with batch statistics, and its
    /// gradients: exact products of second derivatives with the direction. `By::Alpha` asks for that of m.
    fn gradients_along(&self, w: &Tensor, m: &Tensor, along: Along, batch: &Batch, by: By) -> Result<Gradients> {
        gradients::of_derivative(self, w, m, along, batch, by)
    }
    /// ∇²_{m,w} L(w, m)·direction = ∇_m (∇_w L·direction), flat, with batch statistics.
    fn hessian_product(&self, w: &Tensor, m: &Tensor, direction: &Tensor, batch: &Batch) -> Result<Tensor> {
        let found = self.gradients_along(w, m, Along::weights(direction), batch, By::Alpha)?;
        Ok(found.alpha()?.shallow_clone())
    }
    /// The hidden state before the first batch of a stream: zeros. None if batches are independent.
    fn beginning(&self, _batch: &Batch) -> Result<Option<Tensor>> {
        Ok(None)
    }
    /// Sets numbers that change with the epoch, such as the probabilities of dropout.
    fn begin_epoch(&self, _epoch: usize, _epochs: usize) -> Result<()> {
        Ok(())
    }
    /// Draws the noise of a search step, which its losses of one role share: a function of the step. `parts`: how the
    /// batches are divided. Called before an evaluation too, with the number of the next step and without parts.
    fn draw(&self, _step: u64, _parts: &Parts) -> Result<()> {
        Ok(())
    }
    /// Called before each loss of a step: what the network draws in losses of one role and part must be the same.
    fn begin_loss(&self, _role: Role, _part: usize) -> Result<()> {
        Ok(())
    }
    /// Called before each batch of an evaluation: what the network draws for it depends on its index alone.
    fn begin_batch(&self, _index: u64) -> Result<()> {
        Ok(())
    }
    /// Called before an evaluation, which consists of losses in `Mode::Evaluation`, with the number of the next step.
    fn begin_evaluation(&self, _step: u64) -> Result<()> {
        Ok(())
    }
    /// What the network measured over all batches since `begin_evaluation`, besides loss and accuracy.
    fn measured(&self) -> Result<Metrics> {
        Ok(Metrics::new())
    }
    /// Enters or leaves the exact mode, in which every product is computed in float32 or better: a finite difference
    /// multiplies rounding errors by 1/ε.
    fn set_exact(&self, on: bool) -> Result<()>;
    /// The dtype of w and α.
    fn kind(&self) -> Kind;
    /// The device of w, α and batches.
    fn device(&self) -> Device;
    /// Why its steps cannot be captured as graphs; None if they can.
    fn uncapturable(&self) -> Option<&'static str> {
        None
    }
    /// The estimated peak memory of a search step by `method`; None if it is unknown.
    fn peak(&self, _method: Method) -> Option<Peak> {
        None
    }
}

/// A guard that keeps a network in its exact mode until it is dropped.
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
        // Leaving cannot fail if entering did not, and a failure would only cost speed.
        let _ = self.0.set_exact(false);
    }
}
